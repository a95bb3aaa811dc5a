from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netboot.model.settings import File, Mount, Settings, Taint, Unit, merge


def test_later_scalars_win_and_unsaid_ones_leave_the_earlier() -> None:
    """None is not a value: only what a layer says replaces."""
    merged = merge(
        [Settings(timezone="UTC", debug_shell=True), Settings(), Settings(timezone="Europe/Prague")]
    )
    assert (merged.timezone, merged.debug_shell) == ("Europe/Prague", True)


def test_a_later_false_switches_off() -> None:
    """false is said; it is not the same as nothing."""
    assert merge([Settings(debug_shell=True), Settings(debug_shell=False)]).debug_shell is False


def test_lists_append_and_equal_elements_stand_once() -> None:
    """In the order of their first appearance."""
    merged = merge(
        [
            Settings(modules=("overlay", "br_netfilter"), kernel_parameters=("quiet",)),
            Settings(modules=("bonding", "overlay"), kernel_parameters=("quiet", "nomodeset")),
        ]
    )
    assert merged.modules == ("overlay", "br_netfilter", "bonding")
    assert merged.kernel_parameters == ("quiet", "nomodeset")


def test_maps_merge_by_key_and_the_later_value_wins() -> None:
    """Sysctls, labels, kubelet arguments, files, units, hosts."""
    low = Settings(
        sysctls={"a.b": "1", "c.d": "1"},
        labels={"x": "1"},
        kubelet_args={"v": "1"},
        files={"/a": File("1")},
        units={"a.service": Unit("1")},
        hosts={"10.0.0.1": ("a", "b")},
    )
    high = Settings(
        sysctls={"a.b": "2"},
        labels={"y": "2"},
        kubelet_args={"v": "2"},
        files={"/a": File("2", 0o600), "/b": File("3")},
        units={"a.service": Unit("2", True)},
        hosts={"10.0.0.1": ("c",)},
    )
    merged = merge([low, high])
    assert merged.sysctls == {"a.b": "2", "c.d": "1"}
    assert merged.labels == {"x": "1", "y": "2"}
    assert merged.kubelet_args == {"v": "2"}
    assert merged.files == {"/a": File("2", 0o600), "/b": File("3")}
    assert merged.units == {"a.service": Unit("2", True)}
    assert merged.hosts == {"10.0.0.1": ("c",)}


def test_mounts_are_keyed_by_where() -> None:
    """A later layer changes what is mounted there and keeps its turn."""
    merged = merge(
        [
            Settings(mounts=(Mount("tmpfs", "/a", "tmpfs"), Mount("tmpfs", "/b", "tmpfs"))),
            Settings(mounts=(Mount("/dev/sda1", "/a", "ext4"),)),
        ]
    )
    assert [(mount.where, mount.what) for mount in merged.mounts] == [("/a", "/dev/sda1"), ("/b", "tmpfs")]


def test_taints_are_keyed_by_key_and_effect() -> None:
    """One key may have two effects, one effect only one value."""
    merged = merge(
        [
            Settings(taints=(Taint("a", "1", "NoSchedule"), Taint("a", "1", "NoExecute"))),
            Settings(taints=(Taint("a", "2", "NoSchedule"),)),
        ]
    )
    assert set(map(str, merged.taints)) == {"a=2:NoSchedule", "a=1:NoExecute"}


def test_a_taint_reads_as_kubectl_writes_it() -> None:
    """Without a value there is no equals sign."""
    assert str(Taint("a", "", "NoExecute")) == "a:NoExecute"


def test_no_repr_shows_a_files_content_or_a_password_hash() -> None:
    """A traceback may print settings."""
    text = repr(Settings(root_password_hash="$6$hunter2", files={"/a": File("hunter2", secret=True)}))
    assert "hunter2" not in text


_LAYERS = st.lists(
    st.builds(
        Settings,
        timezone=st.none() | st.sampled_from(["UTC", "Europe/Prague"]),
        modules=st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
        labels=st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=2),
        mounts=st.lists(st.builds(Mount, st.just("x"), st.sampled_from("abc"), st.just("t")), max_size=2).map(
            tuple
        ),
    ),
    max_size=5,
)


@given(_LAYERS, _LAYERS)
def test_merging_in_two_steps_is_merging_at_once(low: list[Settings], high: list[Settings]) -> None:
    """Layers may be put together beforehand, and nothing at all changes nothing."""
    assert merge([merge(low), merge(high)]) == merge([*low, *high])
    assert merge([merge(low), Settings()]) == merge(low)
