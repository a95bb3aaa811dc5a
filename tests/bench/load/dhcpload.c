/* dhcpload: many DHCP clients behind one relay agent; counts their exchanges and times each answer.
 *
 *   dhcpload -s SERVER -l LOCAL [-k OUTSTANDING] [-d SECONDS] [-r RATE] [-n MACHINES] [-f FIRST] [-t MS] [-p] [-x]
 *
 * LOCAL:67 speaks as the relay agent of machines FIRST .. FIRST+MACHINES-1, whose cards are 00:0c:01:00:00:00
 * and on. Each does DISCOVER, OFFER, REQUEST, ACK. Without -r a new exchange begins as soon as one ends, so
 * that OUTSTANDING are always under way: the server's capacity. With -r RATE they begin at that rate: latency.
 * An exchange without an answer for MS milliseconds (1000) is lost. -p: the clients are firmware (PXEClient),
 * which opens boots. -x: invented cards at random, and only DISCOVERs: a flood. -1: each machine once, with
 * retransmissions after MS, then the end: how long all of them take. SIGTERM ends it early, with results.
 * Prints one line of JSON; `wrong` are ACKs of another address than the OFFER's; times in milliseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4096, BATCH = 64, SIZE = 1600, MINIMUM = 300, SAMPLES = 1 << 22 };
enum { FREE = 0, DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };

/* One exchange under way; `serial` and the slot's number make its transaction id. */
typedef struct {
    int state;
    uint32_t serial;
    uint64_t card;
    double began, asked;
    uint8_t address[4], server[4];
} Exchange;

typedef struct {
    float *values;
    long count;
} Times;

static Exchange exchanges[SLOTS];
static Times offers, acks, wholes;
static struct sockaddr_in server, local;
static int sock, slots = 64, firmware, flood, once;
static long machines = 1000, first_machine, next_machine, finished;
static long lost, refused, wrong, repeated;
static double seconds = 3, rate, patience = 1.0;
static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void record(Times *times, double milliseconds)
{
    if (times->count < SAMPLES)
        times->values[times->count++] = (float)milliseconds;
}

static uint8_t *put(uint8_t *at, int code, const void *value, int size)
{
    *at++ = (uint8_t)code;
    *at++ = (uint8_t)size;
    memcpy(at, value, (size_t)size);
    return at + size;
}

/* What makes a client firmware: architecture 7, its class, its UUID. */
static uint8_t *put_firmware(uint8_t *at, const uint8_t *card)
{
    static const char class[] = "PXEClient:Arch:00007:UNDI:003016";
    uint8_t uuid[17] = {0};
    memcpy(uuid + 11, card, 6);
    at = put(at, 60, class, sizeof class - 1);
    at = put(at, 93, "\0\7", 2);
    at = put(at, 94, "\1\3\20", 3);
    return put(at, 97, uuid, sizeof uuid);
}

static void ask(int slot)
{
    Exchange *x = &exchanges[slot];
    uint8_t packet[512] = {1, 1, 6, 1}, client[7] = {1}, *at = packet + 240, type = (uint8_t)x->state;
    uint32_t xid = htonl(x->serial << 12 | (uint32_t)slot);
    memcpy(packet + 4, &xid, 4);
    memcpy(packet + 24, &local.sin_addr, 4);
    for (int i = 0; i < 6; i++)
        client[1 + i] = packet[28 + i] = (uint8_t)(x->card >> (40 - 8 * i));
    memcpy(packet + 236, "\x63\x82\x53\x63", 4);
    at = put(at, 53, &type, 1);
    at = put(at, 61, client, 7);
    at = put(at, 55, "\1\3\6\14\17\32\34\52\103", 9);
    if (firmware)
        at = put_firmware(at, packet + 28);
    if (x->state == REQUEST) {
        at = put(at, 54, x->server, 4);
        at = put(at, 50, x->address, 4);
    }
    *at++ = 255;
    long size = at - packet;
    x->asked = now();
    sendto(sock, packet, (size_t)(size < MINIMUM ? MINIMUM : size), 0, (void *)&server, sizeof server);
}

static void begin(int slot)
{
    Exchange *x = &exchanges[slot];
    if (once && next_machine >= machines) {
        x->state = FREE;
        return;
    }
    x->serial = (x->serial + 1) & 0xfffff;
    if (flood)
        x->card = 0x020000000000ULL | (uint64_t)(random() & 0xffffff) << 16 | (uint64_t)(random() & 0xffff);
    else
        x->card = 0x000c01000000ULL + (uint64_t)(first_machine + next_machine++ % machines);
    x->state = DISCOVER;
    x->began = now();
    ask(slot);
}

/* An exchange is over: in a closed loop the next one begins at once. */
static void end(int slot)
{
    finished++;
    if (rate > 0)
        exchanges[slot].state = FREE;
    else
        begin(slot);
}

/* The message type of an answer, and the server's identifier out of its options. */
static int read_options(const uint8_t *packet, int size, uint8_t *identifier)
{
    int type = 0;
    for (int at = 240; at + 1 < size && packet[at] != 255;) {
        if (packet[at] == 0) {
            at++;
            continue;
        }
        int code = packet[at], length = packet[at + 1];
        if (at + 2 + length > size)
            break;
        if (code == 53 && length == 1)
            type = packet[at + 2];
        if (code == 54 && length == 4)
            memcpy(identifier, packet + at + 2, 4);
        at += 2 + length;
    }
    return type;
}

static void take(const uint8_t *packet, int size)
{
    uint32_t xid;
    uint8_t identifier[4] = {0};
    if (size < 244 || packet[0] != 2)
        return;
    memcpy(&xid, packet + 4, 4);
    xid = ntohl(xid);
    int slot = (int)(xid & (SLOTS - 1));
    Exchange *x = &exchanges[slot];
    if (slot >= slots || x->serial != xid >> 12)
        return;
    int type = read_options(packet, size, identifier);
    double t = now();
    if (type == OFFER && x->state == DISCOVER) {
        record(&offers, (t - x->asked) * 1e3);
        if (flood) {
            end(slot);
            return;
        }
        memcpy(x->address, packet + 16, 4);
        memcpy(x->server, identifier, 4);
        x->state = REQUEST;
        ask(slot);
    } else if (type == ACK && x->state == REQUEST) {
        wrong += memcmp(x->address, packet + 16, 4) != 0;
        record(&acks, (t - x->asked) * 1e3);
        record(&wholes, (t - x->began) * 1e3);
        end(slot);
    } else if (type == NAK && x->state == REQUEST) {
        refused++;
        end(slot);
    }
}

static void receive(void)
{
    static uint8_t buffers[BATCH][SIZE];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], SIZE};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(sock, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++)
        take(buffers[i], (int)messages[i].msg_len);
}

/* Who got no answer in time is lost; with -1 it asks again, as clients do. */
static void look_for_losses(double t)
{
    for (int slot = 0; slot < slots; slot++) {
        Exchange *x = &exchanges[slot];
        if (x->state == FREE || t - x->asked < patience)
            continue;
        if (once) {
            repeated++;
            ask(slot);
        } else {
            lost++;
            end(slot);
        }
    }
}

/* Begin what is due at the given rate; an exchange without a free slot is lost. */
static double begin_due(double due, double t)
{
    static int last = 0;
    for (; due < t; due += 1 / rate) {
        int tried = 0;
        while (tried < slots && exchanges[last = (last + 1) % slots].state != FREE)
            tried++;
        if (tried == slots)
            lost++;
        else
            begin(last);
    }
    return due;
}

static int compare(const void *a, const void *b)
{
    float d = *(const float *)a - *(const float *)b;
    return d < 0 ? -1 : d > 0;
}

static double quantile(Times *times, double part)
{
    long at = (long)((double)times->count * part);
    if (times->count == 0)
        return 0;
    return (double)times->values[at < times->count ? at : times->count - 1];
}

static void print_times(const char *name, Times *times)
{
    qsort(times->values, (size_t)times->count, sizeof(float), compare);
    printf("\"%s_p50\": %.3f, \"%s_p99\": %.3f, \"%s_max\": %.3f, ", name, quantile(times, .5), name,
           quantile(times, .99), name, quantile(times, 1));
}

static void print_results(double elapsed)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    printf("{");
    print_times("offer", &offers);
    print_times("ack", &acks);
    print_times("whole", &wholes);
    printf("\"rate\": %.1f, \"exchanges\": %ld, \"lost\": %ld, \"refused\": %ld, \"wrong\": %ld, "
           "\"repeated\": %ld, \"seconds\": %.3f, \"busy\": %.3f}\n",
           (double)wholes.count / elapsed, wholes.count, lost, refused, wrong, repeated, elapsed, cpu / elapsed);
}

static void options(int count, char **words)
{
    int letter;
    server = local = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(67)};
    while ((letter = getopt(count, words, "s:l:k:d:r:n:f:t:px1")) > 0)
        switch (letter) {
        case 's': inet_aton(optarg, &server.sin_addr); break;
        case 'l': inet_aton(optarg, &local.sin_addr); break;
        case 'k': slots = atoi(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'n': machines = atol(optarg); break;
        case 'f': first_machine = atol(optarg); break;
        case 't': patience = atof(optarg) / 1e3; break;
        case 'p': firmware = 1; break;
        case 'x': flood = 1; break;
        case '1': once = 1; break;
        default: exit(2);
        }
    if (slots < 1 || slots > SLOTS || machines < 1)
        exit(2);
}

static void open_socket(void)
{
    int size = 8 << 20;
    sock = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (bind(sock, (void *)&local, sizeof local)) {
        perror("bind");
        exit(2);
    }
}

int main(int count, char **words)
{
    options(count, words);
    open_socket();
    signal(SIGTERM, stop);
    srandom((unsigned)time(NULL));
    for (Times *each[] = {&offers, &acks, &wholes}, **t = each; t < each + 3; t++)
        (*t)->values = malloc(SAMPLES * sizeof(float));
    double start = now(), looked = start, due = start, t = start;
    for (int i = 0; rate == 0 && i < slots; i++)
        begin(i);
    while (!stopped && t < start + seconds && !(once && finished == machines)) {
        if (rate > 0 && !(once && next_machine >= machines))
            due = begin_due(due, t);
        double wait = rate > 0 ? (due - now()) * 1e3 : 5;
        struct pollfd readable = {sock, POLLIN, 0};
        if (poll(&readable, 1, wait < 0 ? 0 : wait > 5 ? 5 : (int)wait) > 0)
            receive();
        t = now();
        if (t - looked > .02) {
            looked = t;
            look_for_losses(t);
        }
    }
    print_results(now() - start);
    return 0;
}
