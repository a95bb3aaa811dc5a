/* A disk that fails at a word and forgets at a power cut: preloaded into the daemon by tests/chaos/disk.py.
 *
 * CHAOS_DISK names a directory. A file there called `eio`, `erofs` or `enospc` makes every write and sync of
 * the store's files fail with that error while it exists; `sync` makes only syncs fail. After each sync that
 * succeeded, what the file held at that moment is copied to NAME.durable in that directory: all that a power
 * cut would leave. `log` gets one line per sync of the store's log (S) and per DHCP reply sent (R and its
 * message type), in their order.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <stdlib.h>

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static const char *folder(void) { return getenv("CHAOS_DISK"); }

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return 1;
}

/* The name of the store's file behind a descriptor, NULL for any other. */
static const char *store_file(const char *path) {
    const char *name = strrchr(path, '/');
    return name && strncmp(name + 1, "netboot.db", 10) == 0 && !strstr(name, ".lock") ? name + 1 : NULL;
}

static int fault(int syncing) {
    static const struct { const char *name; int error; } faults[] = {
        {"eio", EIO}, {"erofs", EROFS}, {"enospc", ENOSPC}};
    char path[4096];
    if (!folder()) return 0;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder(), faults[i].name);
        if (access(path, F_OK) == 0) return faults[i].error;
    }
    snprintf(path, sizeof path, "%s/sync", folder());
    return syncing && access(path, F_OK) == 0 ? EIO : 0;
}

static void say(const char *text, size_t size) {
    char path[4096];
    int before = errno;
    if (!folder()) return;
    snprintf(path, sizeof path, "%s/log", folder());
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd >= 0) {
        if (REAL(write)(fd, text, size) < 0) errno = before;
        close(fd);
    }
    errno = before;
}

/* Keep what the file holds now; complete at any moment, because it is renamed into place. */
static void keep(int fd, const char *name) {
    char fresh[4096], kept[4096];
    struct stat facts;
    off_t at = 0;
    int before = errno;
    if (access(folder(), W_OK) != 0 || fstat(fd, &facts) != 0) return;
    snprintf(fresh, sizeof fresh, "%s/%s.new", folder(), name);
    snprintf(kept, sizeof kept, "%s/%s.durable", folder(), name);
    int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (to >= 0) {
        while (at < facts.st_size && sendfile(to, fd, &at, facts.st_size - at) > 0) {}
        close(to);
        rename(fresh, kept);
    }
    errno = before;
}

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    const char *name = path_of(fd, path, sizeof path) ? store_file(path) : NULL;
    if (!name || !folder()) return real(fd);
    int error = fault(1);
    if (error) { errno = error; return -1; }
    int done = real(fd);
    if (done == 0) {
        keep(fd, name);
        if (strstr(name, "-wal")) say("S\n", 2);
    }
    return done;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static int refused(int fd) {
    char path[4096];
    int error = folder() ? fault(0) : 0;
    return error && path_of(fd, path, sizeof path) && store_file(path) ? error : 0;
}

#define WRITER(result, name, parameters, arguments) \
    result name parameters { \
        int error = refused(fd); \
        if (error) { errno = error; return -1; } \
        return REAL(name) arguments; \
    }

WRITER(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
WRITER(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITER(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRITER(int, ftruncate, (int fd, off_t size), (fd, size))
WRITER(int, ftruncate64, (int fd, off64_t size), (fd, size))

static int opened(const char *path, int flags) {
    int error = folder() && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && store_file(path) ? fault(0) : 0;
    return error == EROFS ? error : 0;
}

#define OPENER(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        int error = opened(path, flags); \
        if (error) { errno = error; return -1; } \
        return REAL(name)(path, flags, mode); \
    }

OPENER(open)
OPENER(open64)

/* A DHCP reply somewhere in what is sent: after the cookie, our daemon says its type first. */
static void sent(const void *data, size_t size) {
    const unsigned char *at = memmem(data, size, "\x63\x82\x53\x63\x35\x01", 6);
    if (at && at + 6 < (const unsigned char *) data + size) {
        char line[] = {'R', (char) ('0' + at[6]), '\n'};
        say(line, 3);
    }
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    sent(data, size);
    return REAL(send)(fd, data, size, flags);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    sent(data, size);
    return REAL(sendto)(fd, data, size, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    for (size_t i = 0; i < message->msg_iovlen; i++) sent(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    return REAL(sendmsg)(fd, message, flags);
}
