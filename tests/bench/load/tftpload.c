/* tftpload: many TFTP downloads at once (RFC 1350, 2347, 2348, 7440), every block compared with a reference.
 *
 * tftpload -s ADDRESS -f NAME -r REFERENCE [-b BLKSIZE] [-w WINDOWSIZE] [-n TOTAL] [-c AT_ONCE] [-t RTO_MS] [-m LIMIT_S]
 *
 * Prints one JSON object: ok, failed, wrong (a block differed), rate (MB/s), median and worst (s per download;
 * one that failed counts with the limit), again (what was sent again by timeout or gap), busy (our own CPU per
 * second: near 1 the client is what is measured), blksize and windowsize as agreed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, DATAGRAM = 65536, EVENTS = 256, TRIES = 12 };
enum { DATA = 3, ACK = 4, ERROR = 5, OACK = 6 };

typedef struct {
    int fd, blksize, window, tries;
    bool running, answered, gap;
    uint64_t got, acked, bytes; /* blocks are counted without end */
    double began, last;
    struct sockaddr_in peer;
} Download;

static struct sockaddr_in server;
static const char *name = "";
static const unsigned char *reference;
static size_t size;
static int blksize = 512, windowsize = 1, total = 1, at_once = 1;
static double patience = 1.0, limit = 60.0;
static Download *downloads;
static double *times;
static int begun, running, ok, failed, wrong, epoll, agreed_blksize, agreed_window;
static long again;
static uint64_t transferred;
static unsigned char buffers[BATCH][DATAGRAM];
static struct mmsghdr messages[BATCH];
static struct iovec pieces[BATCH];
static struct sockaddr_in senders[BATCH];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int option(char *at, const char *key, int value)
{
    int length = sprintf(at, "%s", key) + 1;
    return length + sprintf(at + length, "%d", value) + 1;
}

static void ask(Download *d)
{
    char packet[600] = {0, 1};
    int length = 2;
    length += snprintf(packet + length, 400, "%s", name) + 1;
    length += sprintf(packet + length, "octet") + 1;
    if (blksize != 512) {
        length += option(packet + length, "tsize", 0);
        length += option(packet + length, "blksize", blksize);
    }
    if (windowsize > 1)
        length += option(packet + length, "windowsize", windowsize);
    sendto(d->fd, packet, (size_t)length, 0, (struct sockaddr *)&server, sizeof server);
    d->last = now();
}

static void acknowledge(Download *d)
{
    unsigned char packet[4] = {0, ACK, (unsigned char)(d->got >> 8), (unsigned char)d->got};
    sendto(d->fd, packet, sizeof packet, 0, (struct sockaddr *)&d->peer, sizeof d->peer);
    d->acked = d->got;
    d->last = now();
}

static void begin(void)
{
    Download *d = &downloads[begun];
    int room = 4 << 20;
    memset(d, 0, sizeof *d);
    d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(d->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    d->blksize = 512;
    d->window = 1;
    d->running = true;
    d->began = now();
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)begun};
    epoll_ctl(epoll, EPOLL_CTL_ADD, d->fd, &event);
    begun++;
    running++;
    ask(d);
}

static void end(Download *d, bool complete)
{
    close(d->fd);
    d->running = false;
    running--;
    times[ok + failed] = complete ? now() - d->began : limit;
    if (complete)
        ok++;
    else
        failed++;
    if (begun < total)
        begin();
}

static void agree(Download *d, const unsigned char *packet, int length)
{
    int at = 2;
    while (at < length) {
        const char *key = (const char *)packet + at;
        at += (int)strnlen(key, (size_t)(length - at)) + 1;
        if (at >= length)
            break;
        const char *value = (const char *)packet + at;
        at += (int)strnlen(value, (size_t)(length - at)) + 1;
        if (!strcasecmp(key, "blksize"))
            d->blksize = atoi(value);
        else if (!strcasecmp(key, "windowsize"))
            d->window = atoi(value);
    }
}

static void take_next(Download *d, const unsigned char *content, int length)
{
    if (length > d->blksize || d->bytes + (uint64_t)length > size ||
        memcmp(reference + d->bytes, content, (size_t)length)) {
        wrong++;
        end(d, false);
        return;
    }
    d->got++;
    d->bytes += (uint64_t)length;
    transferred += (uint64_t)length;
    d->gap = false;
    d->tries = 0;
    bool last = length < d->blksize;
    if (last || d->got - d->acked >= (uint64_t)d->window)
        acknowledge(d);
    if (last) {
        agreed_blksize = d->blksize;
        agreed_window = d->window;
        wrong += d->bytes != size;
        end(d, d->bytes == size);
    }
}

/* A block that is not the next one: a repeated DATA is acknowledged again (RFC 1350), a gap once (RFC 7440). */
static void take_other(Download *d, unsigned number)
{
    unsigned behind = (unsigned)(d->got - number) & 0xffff;
    if (d->window == 1) {
        again++;
        if (behind == 0)
            acknowledge(d);
    } else if (!d->gap || now() - d->last > 0.02) {
        d->gap = true;
        again++;
        acknowledge(d);
    }
}

static void take(Download *d, const unsigned char *packet, int length, const struct sockaddr_in *from)
{
    if (length < 4)
        return;
    if (d->answered && (from->sin_port != d->peer.sin_port || from->sin_addr.s_addr != d->peer.sin_addr.s_addr))
        return;
    d->answered = true;
    d->peer = *from;
    unsigned number = (unsigned)packet[2] << 8 | packet[3];
    if (packet[1] == OACK && d->got == 0) {
        agree(d, packet, length);
        acknowledge(d);
        d->tries = 0;
    } else if (packet[1] == ERROR) {
        end(d, false);
    } else if (packet[1] == DATA) {
        if (number == ((d->got + 1) & 0xffff))
            take_next(d, packet + 4, length - 4);
        else
            take_other(d, number);
    }
}

static void hear(Download *d)
{
    int fd = d->fd;
    if (d->window == 1) {
        struct sockaddr_in from;
        socklen_t room = sizeof from;
        ssize_t length = recvfrom(fd, buffers[0], DATAGRAM, 0, (struct sockaddr *)&from, &room);
        if (length > 0)
            take(d, buffers[0], (int)length, &from);
        return;
    }
    for (int i = 0; i < BATCH; i++)
        messages[i].msg_hdr.msg_namelen = sizeof senders[i];
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count && d->running; i++)
        take(d, buffers[i], (int)messages[i].msg_len, &senders[i]);
}

static void look_for_silence(double t)
{
    for (int i = 0, seen = begun; i < seen; i++) {
        Download *d = &downloads[i];
        if (!d->running || t - d->last <= patience)
            continue;
        again++;
        d->gap = false;
        if (++d->tries > TRIES)
            end(d, false);
        else if (!d->answered)
            ask(d);
        else
            acknowledge(d);
    }
}

static void read_reference(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat facts;
    if (fd < 0 || fstat(fd, &facts)) {
        perror(path);
        exit(2);
    }
    size = (size_t)facts.st_size;
    reference = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
}

static void read_options(int count, char **words)
{
    const char *path = NULL;
    server.sin_family = AF_INET;
    server.sin_port = htons(69);
    for (int o; (o = getopt(count, words, "s:f:r:b:w:n:c:t:m:")) > 0;) {
        switch (o) {
        case 's': inet_aton(optarg, &server.sin_addr); break;
        case 'f': name = optarg; break;
        case 'r': path = optarg; break;
        case 'b': blksize = atoi(optarg); break;
        case 'w': windowsize = atoi(optarg); break;
        case 'n': total = atoi(optarg); break;
        case 'c': at_once = atoi(optarg); break;
        case 't': patience = atof(optarg) / 1000; break;
        case 'm': limit = atof(optarg); break;
        default: exit(2);
        }
    }
    if (!path || at_once < 1 || total < at_once) {
        fprintf(stderr, "tftpload: -r REFERENCE is missing, or -n is less than -c\n");
        exit(2);
    }
    read_reference(path);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(double seconds)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    int count = ok + failed;
    qsort(times, (size_t)count, sizeof *times, rising);
    printf("{\"ok\": %d, \"failed\": %d, \"wrong\": %d, \"rate\": %.3f, \"median\": %.5f, \"worst\": %.5f, "
           "\"again\": %ld, \"busy\": %.3f, \"blksize\": %d, \"windowsize\": %d}\n",
           ok, failed, wrong, (double)transferred / seconds / 1e6, count ? times[count / 2] : 0,
           count ? times[count - 1] : 0, again, cpu / seconds, agreed_blksize, agreed_window);
}

int main(int count, char **words)
{
    read_options(count, words);
    downloads = calloc((size_t)total, sizeof *downloads);
    times = calloc((size_t)total, sizeof *times);
    epoll = epoll_create1(0);
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){buffers[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1, .msg_name = &senders[i]};
    }
    double start = now(), looked = start, t = start;
    while (begun < at_once)
        begin();
    struct epoll_event events[EVENTS];
    while (running && t - start < limit) {
        int heard = epoll_wait(epoll, events, EVENTS, 10);
        for (int i = 0; i < heard; i++) {
            Download *d = &downloads[events[i].data.u32];
            if (d->running)
                hear(d);
        }
        t = now();
        if (t - looked > 0.01) {
            looked = t;
            look_for_silence(t);
        }
    }
    total = begun;
    for (int i = 0; i < begun; i++)
        if (downloads[i].running)
            end(&downloads[i], false);
    tell(now() - start);
    return 0;
}
