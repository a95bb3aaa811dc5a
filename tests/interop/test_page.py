"""The page in a real browser: what operators click through, and what viewers and hostile names cannot do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.model.machine import Mac
from netboot.model.operation import Line, Order
from tests.interop.browser import Browser, browser, missing
from tests.store.values import binding
from tests.web.api.world import ONE, OPERATOR, STRANGER, TOKEN, VIEWER, Running, World, make_image, running

pytestmark = [pytest.mark.root, pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")]

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
GUEST = Mac("52:54:00:00:00:77")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all of them."""
    with browser(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Running]:
    """An appliance where n1 stopped and a stranger, who has to be let in, is on its way."""
    make_image(tmp_path / "images")
    world = World(tmp_path / "images")
    world.now = time.time() - 60
    pools = {**world.inventory.pools}
    pools["unknown"] = replace(pools["unknown"], admission="approval")
    world.inventory = replace(world.inventory, pools=pools)
    world.roster.declare(world.inventory)
    with running(world, tmp_path) as served:
        yield served


def hold(api: Running) -> None:
    """Have the name of n1 held."""

    async def held() -> None:
        misused = replace(binding(1), node="n1", mac=ONE)
        await api.world.store.bind(misused)
        await api.world.store.hold("blue", misused.token_id, "its token was used twice: somebody else has it")

    asyncio.run_coroutine_threadsafe(held(), api.loop).result(30)


def enter(tab: Browser, api: Running, token: str) -> None:
    """Sign in, and wait for the machines."""
    tab.go(api.url + "/favicon.svg")
    tab.run("sessionStorage.clear()")
    tab.complaints()
    tab.go(api.url + "/")
    tab.type("#token", token)
    tab.click("#door button")
    tab.find("#link", "live")


def opened(tab: Browser, machine: str) -> str:
    """Open a machine's card; the selector of what is in it."""
    tab.click(".card .head", machine)
    tab.find(".card.open .detail .steps")
    return ".card.open .detail"


def test_a_wrong_token_is_said_and_the_right_one_opens(tab: Browser, api: Running) -> None:
    """The token is kept in this tab alone, and forgotten on the way out."""
    tab.go(api.url + "/")
    tab.type("#token", "not-a-token-of-anybody")
    tab.click("#door button")
    tab.find("#refusal", "not known here")
    assert tab.run("return sessionStorage.length") == 0
    enter(tab, api, TOKEN)
    tab.find("#who", "admin.token")
    assert tab.run("return [localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    assert tab.complaints() == []
    tab.click("#leave")
    tab.find("#token")
    assert tab.run("return sessionStorage.length") == 0 and "n1" not in tab.page()


def test_a_boot_is_seen_live_with_its_timeline_and_why_it_stopped(tab: Browser, api: Running) -> None:
    """Without a reload: steps, progress, then the cause."""
    boots, world = api.world.boots, api.world
    enter(tab, api, VIEWER)
    tab.find(".card.stopped .cause", "network.sh ended with status 3")
    api.do(lambda: boots.discovered(GUEST, node="guest", cluster="blue", now=world.now))
    tab.find(".card.booting .name", "guest")
    number = world.boots.of_node("guest")
    assert number is not None
    inside = opened(tab, "guest")
    assert "squashfs" not in tab.text(tab.find(f"{inside} table"))
    api.do(lambda: boots.step(number.id, "squashfs", bytes=25 << 20, of=100 << 20))
    tab.find(f"{inside} td", "25.0 MiB of 100.0 MiB")
    tab.find(".card.open .progress", "25 %")
    api.do(lambda: boots.stop(number.id, "squashfs", "the cable was pulled"))
    tab.find(".card.stopped.open .cause", "Stopped at squashfs: the cable was pulled")
    tab.click(".count.stopped")
    tab.type("#filter", "gue")
    assert tab.seen(".card .name") == ["guest"]
    tab.click('nav a[href="#events"]')
    tab.find("#panel td", "n1 stopped at network_script")  # it happened before the page was opened
    assert tab.text(tab.find("#panel td:nth-child(3)")) == "guest stopped at squashfs: the cable was pulled"
    assert len([text for text in tab.seen("#panel td:nth-child(3)") if text == "guest squashfs"]) == 1
    assert tab.complaints() == []


def test_an_operator_assigns_a_machine_and_sees_the_operation(tab: Browser, api: Running) -> None:
    """First what would happen, then the operation; the audit says who it was."""
    enter(tab, api, OPERATOR)
    inside = opened(tab, "n1")
    tab.click(f"{inside} .go")
    assert not api.world.operations.operations(limit=9)
    tab.click(f"{inside} select option", "catchall")
    tab.click(f"{inside} .dry")
    tab.find(f"{inside} .told", "nothing was changed")
    assert tab.seen(f"{inside} .told td")
    assert not api.world.operations.operations(limit=9)
    tab.click(f"{inside} .go")
    tab.find(f"{inside} .told", "is under way")
    (operation,) = api.world.operations.operations(limit=9)
    tab.click(f"{inside} .told a")
    tab.find("#panel .operation summary", "n1")
    tab.find("#panel .operation .caption", f"operation {operation.id}, asked for by olga")
    assert not tab.seen("#audit-tab")
    assert tab.complaints() == []


def test_an_operator_lets_a_machine_in_and_releases_a_lease(tab: Browser, api: Running) -> None:
    """Each asks once more; a machine that shows life keeps its lease unless it is forced."""
    enter(tab, api, OPERATOR)
    inside = opened(tab, "node-525400000099")
    tab.click(f"{inside} .sure button", "Admit")
    tab.click(f"{inside} .sure button", "Yes")
    tab.find(f"{inside} .told.good", "let in")
    assert api.world.operations.admitted(STRANGER)
    tab.click('nav a[href="#addresses"]')
    tab.find("#panel td", "10.0.0.7")
    tab.click("#panel tr:nth-child(2) .sure button", "Release")
    tab.click("#panel tr:nth-child(2) .sure button", "Yes")
    tab.find("#told.good", "10.0.0.7 is released")
    tab.find("#panel tr:nth-child(2) td", "10.0.0.100")
    tab.click("#panel tr:nth-child(1) .sure button", "Release")
    tab.click("#panel tr:nth-child(1) .sure button", "Yes")
    tab.find("#told.bad .sure button", "Release all the same")
    refused = [message for message in tab.complaints() if "409" not in message]
    assert refused == []


def test_a_viewer_has_no_buttons_and_could_not_use_them(tab: Browser, api: Running) -> None:
    """Nothing that changes anything is shown; the API refuses the same tab's token."""
    enter(tab, api, VIEWER)
    inside = opened(tab, "n1")
    assert not tab.all(f"{inside} .actions")
    tab.click('nav a[href="#addresses"]')
    tab.find("#panel td", "10.0.0.7")
    assert not tab.all("#panel .sure")
    call = (
        "return fetch('/api/v1/nodes/n1/assignment', {method: 'PUT', body: '{\"cluster\": \"catchall\"}',"
        " headers: {Authorization: `Bearer ${sessionStorage.getItem('netboot.token')}`}})"
        ".then((answer) => answer.status)"
    )
    assert tab.run(call) == 403


def test_a_held_name_is_an_alarm_until_an_operator_releases_it(tab: Browser, api: Running) -> None:
    """It stands above every tab, with why; the button asks once more, and both are gone afterwards."""
    hold(api)
    enter(tab, api, VIEWER)
    tab.find("#alarms .alarm", "The name n1 is held")
    assert not tab.all("#alarms button")
    enter(tab, api, OPERATOR)
    tab.find(".card.held .notes .cause", "somebody else has it")
    tab.click('nav a[href="#events"]')
    tab.click("#alarms button", "Release n1")
    tab.click("#alarms button", "No")
    assert tab.run("return document.activeElement.textContent") == "Release n1"
    tab.click("#alarms button", "Release n1")
    tab.click("#alarms button", "Yes")
    tab.find("#told.good", "n1 is held no longer")
    assert not tab.all("#alarms .alarm")
    tab.find("#panel td", "name_released")
    tab.click('nav a[href="#machines"]')
    tab.find(".card.stopped .name", "n1")
    assert not tab.all(".card.held") and tab.complaints() == []


def test_a_hold_that_begins_while_somebody_looks_is_shown(tab: Browser, api: Running) -> None:
    """The stream tells of the misused token; nobody has to look for it."""
    enter(tab, api, VIEWER)
    hold(api)
    api.do(lambda: api.world.journal.note("token_misused", "a token was misused"))
    tab.find("#alarms .alarm", "The name n1 is held")


def test_drift_of_a_node_object_is_shown(tab: Browser, api: Running) -> None:
    """On the card and among its facts; one that is as declared is told so, one that nobody watches is not."""
    api.world.drift = {"n1": ("label rack is c12 instead of c11",), "node-525400000099": ()}
    enter(tab, api, VIEWER)
    tab.find(".card .notes .note", "differs from the file: label rack is c12 instead of c11")
    inside = opened(tab, "n1")
    tab.find(f"{inside} .facts dd", "not as the file says")
    tab.click(".card .head", "n1")
    opened(tab, "node-525400000099")
    tab.find(".card.open .facts dd", "as the file says")


def test_an_operation_is_seen_step_by_step(tab: Browser, api: Running) -> None:
    """How far it is, for how long, what it waits for; its machine says that it moves."""
    found = asyncio.run_coroutine_threadsafe(
        api.world.operations.assign("n1", Order(cluster="catchall"), by="olga"), api.loop
    ).result(30)
    waits = replace(
        found, step="drain", reason="7 pods have to go", timeline=(Line("drain", time.time(), "12 pods"),)
    )
    api.do(lambda: api.world.operations._of.update({found.id: waits}))
    enter(tab, api, VIEWER)
    tab.find(".card .notes .note", "It moves (blue → catchall), at drain: 7 pods have to go")
    tab.click('nav a[href="#operations"]')
    tab.find("#panel .operation .now", "drain")
    tab.find("#panel .operation .note", "7 pods have to go")
    tab.find("#panel .operation summary", "at drain for")
    tab.find("#panel .operation td", "12 pods")
    assert not tab.all("#panel .operation button")
    api.do(
        lambda: api.world.operations._of.update({found.id: replace(waits, state="done", ended=time.time())})
    )
    tab.find("#panel .operation .pill", "done")
    tab.click("#panel .operation summary")
    assert len(tab.all("#panel .operation .line .done")) == 1
    assert tab.complaints() == []


def test_names_from_the_network_are_text(tab: Browser, api: Running) -> None:
    """Markup in names, details and causes is shown as it stands, on every tab that shows it."""
    boots, world = api.world.boots, api.world
    enter(tab, api, TOKEN)
    api.do(lambda: boots.discovered(GUEST, node=EVIL, cluster=EVIL, now=world.now))
    found = world.boots.of_node(EVIL)
    assert found is not None
    api.do(lambda: boots.step(found.id, "network_script", detail=EVIL))
    api.do(lambda: boots.stop(found.id, "network_script", EVIL))
    tab.find(".card .cause", EVIL)
    inside = opened(tab, EVIL)
    tab.find(f"{inside} td", EVIL)
    for panel in ("events", "audit", "clusters", "operations"):
        tab.click(f'nav a[href="#{panel}"]')
        tab.find("#panel *")
    assert tab.run("return [document.title, document.querySelectorAll('img, script').length]") == [
        "netboot",
        2,
    ]
    assert tab.complaints() == []


def test_the_page_fits_a_phone(tab: Browser, api: Running) -> None:
    """No tab is wider than a small screen, with a machine open too."""
    enter(tab, api, TOKEN)
    tab.resize(500, 900)  # no window is narrower; the page gets a frame of 360 in it
    try:
        tab.run("document.documentElement.style.width = '360px'; document.body.style.maxWidth = '360px'")
        opened(tab, "n1")
        for panel in ("machines", "clusters", "addresses", "operations", "events", "audit"):
            tab.click(f'nav a[href="#{panel}"]')
            tab.find("#cards" if panel == "machines" else "#panel *")
            assert tab.run("return document.body.scrollWidth") <= 360, panel
    finally:
        tab.resize(1280, 900)
