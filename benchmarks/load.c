/*
 * load: a fake upstream and a load generator in one process, for measuring the service that stands between them.
 *
 *     this program  --POST /api/agent/stream-->  the service  --POST /v1/chat/completions-->  this program
 *     as clients    <--------- events ---------               <----------- chunks ----------  as the upstream
 *
 * Both ends are in one process and share one monotonic clock, so the latency that the service adds to each token is known:
 * the time when its last character arrived in an event minus the time when the upstream wrote it. The client also knows the
 * upstream's text, so it checks every character: each token exactly once, in order, in the right stream.
 *
 *     cc -O2 -Wall -Wextra -o load load.c
 *     load [UPSTREAM_PORT]        0, the default, is any free one
 *
 * It first prints {"upstream_port": N}. Then it reads lines from standard input (a pipe). Each line is a scenario of
 * key=value words, and load answers it with one JSON object on a line:
 *
 *     port         the service's port on 127.0.0.1
 *     streams      how many clients run at the same time, each on a connection of its own
 *     runs         how many runs they make in total (default: one each); a client reuses its connection
 *     tokens       how many tokens the upstream writes in each run
 *     interval_us  time between two tokens of a run; 0: as fast as the socket accepts them, several in a write
 *     thinking     1: every second token is one of the model's thinking, so that no two can become one event
 *     ramp_ms      the clients start spread over this time
 *     cpu_pid      report the CPU time of this process (in µs, all its threads) when the first event arrives, and then …
 *     mark_every   … each time after this number of events
 *     limit_ms     a scenario that takes longer has failed (default: 60,000)
 *
 * Failed checks are printed to standard error, and the exit status at the end is then 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TOKEN_SIZE = 8,           /* "t000017 " */
    BURST = 64,               /* tokens to a write when they aren't paced */
    READ_SIZE = 64 * 1024,
    EVENTS = 256,             /* taken from epoll at once */
    MESSAGES = 10,            /* failures described on standard error, per scenario */
    MARKS = 64,               /* readings of the CPU time, per scenario */
};
static const uint64_t MS = 1000 * 1000, NEVER = UINT64_MAX;

/* ---- small things ---- */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static void *grow(void *memory, size_t count, size_t size) {
    void *grown = reallocarray(memory, count ? count : 1, size);
    if (!grown) die("out of memory");
    return grown;
}

static void *zeroed(size_t count, size_t size) {
    return memset(grow(NULL, count, size), 0, count * size);
}

/* Bytes on their way: appended at the end, consumed at the start, and always followed by a NUL. */
struct buffer { char *data; size_t start, end, room; };

static char *bytes(const struct buffer *b) { return b->data + b->start; }
static size_t size(const struct buffer *b) { return b->end - b->start; }

static char *reserve(struct buffer *b, size_t more) {
    if (b->start == b->end) b->start = b->end = 0;
    if (b->end + more + 1 > b->room) {
        b->room = (b->end + more + 1) * 2;
        b->data = grow(b->data, b->room, 1);
    }
    return b->data + b->end;
}

static void append(struct buffer *b, const char *from, size_t count) {
    memcpy(reserve(b, count), from, count);
    b->end += count;
    b->data[b->end] = 0;
}

/* Returns the length of the text before `mark`, or -1 if the mark is missing. */
static ssize_t before(const struct buffer *b, const char *mark) {
    char *found = size(b) ? memmem(bytes(b), size(b), mark, strlen(mark)) : NULL;
    return found ? found - bytes(b) : -1;
}

/* Returns the value of a header in the first `length` bytes, up to a CR, or NULL. */
static const char *header(const char *head, size_t length, const char *name) {
    const char *end = head + length;
    for (const char *line = head; (line = memmem(line, (size_t)(end - line), "\r\n", 2)) != NULL;) {
        line += 2;
        if ((size_t)(end - line) > strlen(name) && !strncasecmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            return line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " ");
    }
    return NULL;
}

/* ---- sockets: every object that epoll watches begins with a `struct peer` ---- */

struct peer {
    enum { COMMANDS, LISTENER, UPSTREAM, CLIENT } role;
    int fd;
    bool wants_out;
    struct buffer in, out;
};

static int epoll;

static void watch(struct peer *p) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event)) die("epoll_ctl");
}

static void want_out(struct peer *p, bool wanted) {
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = p};
    if (p->wants_out != wanted && epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &event)) die("epoll_ctl");
    p->wants_out = wanted;
}

/* Reads once into the buffer. Returns false if the other side has closed the connection. */
static bool receive(struct peer *p) {
    ssize_t count = recv(p->fd, reserve(&p->in, READ_SIZE), READ_SIZE, 0);
    if (count < 0) return errno == EAGAIN;
    p->in.end += (size_t)count;
    p->in.data[p->in.end] = 0;
    return count > 0;
}

/* Writes as much as the socket accepts, and watches for when it accepts the rest. Returns false if the peer has closed. */
static bool flush(struct peer *p) {
    while (size(&p->out)) {
        ssize_t count = send(p->fd, bytes(&p->out), size(&p->out), MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN) return false;
        if (count < 0) break;
        p->out.start += (size_t)count;
    }
    want_out(p, size(&p->out) > 0);
    return true;
}

static void release(struct peer *p) {
    close(p->fd);
    free(p->in.data);
    free(p->out.data);
    p->in = p->out = (struct buffer){0};
    p->fd = -1;
}

static void no_delay(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); }

static struct sockaddr_in loopback(long port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* ---- the scenario under way ---- */

struct spec { long port, streams, runs, tokens, interval_us, thinking, ramp_ms, cpu_pid, mark_every, limit_ms; };

static struct {
    struct spec spec;
    unsigned number;                        /* which scenario: distinguishes connections of an earlier one */
    uint64_t start, end;
    long begun, finished, clients_left;     /* runs started, runs ended, clients that have or will have a run */
    long open, most_open;                   /* runs whose response has begun and not ended: now, and the most */
    long failures, requests, connections;   /* failed checks; requests to the upstream and its connections */
    uint64_t *sent;                         /* [run * tokens + token]: when the upstream wrote it */
    bool *asked;                            /* [run]: the service has asked the upstream */
    double *added, *first;                  /* latencies in ms: of each token; from a run's POST to its first token */
    long tokens_in, firsts_in;              /* the lengths of these two */
    long events_in;                         /* events with tokens */
    struct { long events; double us; } marks[MARKS]; /* CPU time of cpu_pid after this number of events */
    long marks_in;
} bench;
static bool ever_failed;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...) {
    ever_failed = true;
    if (++bench.failures > MESSAGES) return;
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* Numbers differ from run to run, so that a token in the wrong stream is noticed. */
static void token_text(char text[TOKEN_SIZE + 1], long run, long token) {
    snprintf(text, TOKEN_SIZE + 1, "t%06lu ", (unsigned long)(run * 1009 + token) % 1000000);
}

/* ---- the upstream ---- */

struct upstream {
    struct peer peer;
    unsigned scenario;
    long run, token;                        /* the run being answered, or -1; its next token */
    uint64_t due;                           /* when that token has to be written, if tokens are paced */
    ssize_t place;                          /* its index in the heap below, or -1 */
};

/* A heap of the paced connections, with the next one on top. */
static struct { struct upstream **at; size_t count, room; } heap;

static void heap_set(size_t place, struct upstream *u) {
    heap.at[place] = u;
    u->place = (ssize_t)place;
}

static void heap_settle(size_t place, struct upstream *u) {
    for (; place > 0 && heap.at[(place - 1) / 2]->due > u->due; place = (place - 1) / 2)
        heap_set(place, heap.at[(place - 1) / 2]);
    for (size_t child; (child = 2 * place + 1) < heap.count; place = child) {
        if (child + 1 < heap.count && heap.at[child + 1]->due < heap.at[child]->due) child++;
        if (heap.at[child]->due >= u->due) break;
        heap_set(place, heap.at[child]);
    }
    heap_set(place, u);
}

static void heap_add(struct upstream *u) {
    if (heap.count == heap.room) heap.at = grow(heap.at, heap.room = heap.room * 2 + 64, sizeof *heap.at);
    heap_settle(heap.count++, u);
}

static void heap_remove(struct upstream *u) {
    if (u->place < 0) return;
    struct upstream *last = heap.at[--heap.count];
    if (last != u) heap_settle((size_t)u->place, last);
    u->place = -1;
}

static void upstream_drop(struct upstream *u) {
    heap_remove(u);
    release(&u->peer);
    free(u);
}

/* Appends one HTTP chunk with one server-sent event. */
__attribute__((format(printf, 2, 3))) static void say(struct upstream *u, const char *format, ...) {
    char data[512], framed[600];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(data, sizeof data, format, arguments);
    va_end(arguments);
    int count = snprintf(framed, sizeof framed, "%x\r\ndata: %s\n\n\r\n", length + 8, data);
    append(&u->peer.out, framed, (size_t)count);
}

#define CHUNK \
    "{\"id\":\"chatcmpl-CfA9rX2bLq7VnT4kWm%06ld\",\"object\":\"chat.completion.chunk\",\"created\":1764000000," \
    "\"model\":\"bench/model\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_50cad350e4\","

static void say_token(struct upstream *u, uint64_t at) {
    char text[TOKEN_SIZE + 1];
    token_text(text, u->run, u->token);
    const char *key = bench.spec.thinking && u->token % 2 == 0 ? "reasoning_content" : "content";
    say(u, CHUNK "\"choices\":[{\"index\":0,\"delta\":{\"%s\":\"%s\"},\"logprobs\":null,\"finish_reason\":null}]}",
        u->run, key, text);
    bench.sent[u->run * bench.spec.tokens + u->token++] = at;
}

static void say_end(struct upstream *u) {
    say(u, CHUNK "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}", u->run);
    say(u, CHUNK "\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
        u->run, bench.spec.tokens, bench.spec.tokens + 9);
    say(u, "[DONE]");
    append(&u->peer.out, "0\r\n\r\n", 5);
    u->run = -1;
}

/* Each stream has its own phase. In step, a service could serve many streams with one wake-up. */
static uint64_t phase(long run) {
    double share = (uint32_t)run * 2654435769u / 4294967296.0; /* golden ratio: puts neighbours far apart */
    return (uint64_t)(share * (double)bench.spec.interval_us * 1e3);
}

/* Writes the token that is due, or a burst of tokens if they aren't paced. Returns false if the service has closed. */
static bool upstream_continue(struct upstream *u) {
    uint64_t at = now(), interval = (uint64_t)bench.spec.interval_us * 1000;
    if (u->scenario != bench.number) return false;
    u->due = u->token == 0 ? at + phase(u->run) : u->due + interval;
    for (long burst = interval ? 1 : BURST; burst > 0 && u->token < bench.spec.tokens; burst--) say_token(u, at);
    bool more = u->token < bench.spec.tokens;
    if (!more) say_end(u);
    if (!flush(&u->peer)) return false;
    if (more && interval) heap_add(u);
    if (more && !interval) want_out(&u->peer, true);
    return true;
}

static bool upstream_begin(struct upstream *u, const char *body, size_t length) {
    const char *name = length ? memmem(body, length, "bench run ", 10) : NULL;
    long run = name ? strtol(name + 10, NULL, 10) : -1;
    bench.requests++;
    if (run < 0 || run >= bench.begun) return fail("upstream: the request is for no run of this scenario"), false;
    if (bench.asked[run]) return fail("run %ld: the service asked the upstream twice", run), false;
    bench.asked[run] = true;
    u->run = run;
    u->token = 0;
    u->scenario = bench.number;
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
        "X-Request-ID: req_bench\r\nTransfer-Encoding: chunked\r\n\r\n";
    append(&u->peer.out, head, sizeof head - 1);
    return upstream_continue(u);
}

static bool upstream_reply(struct upstream *u, const char *status, const char *body) {
    char text[512];
    int count = snprintf(text, sizeof text,
                         "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                         strlen(body), body);
    append(&u->peer.out, text, (size_t)count);
    return flush(&u->peer);
}

/* Answers the requests that have arrived whole. Returns false if the connection can't be used any more. */
static bool upstream_serve(struct upstream *u) {
    struct buffer *in = &u->peer.in;
    for (ssize_t head; u->run < 0 && (head = before(in, "\r\n\r\n")) >= 0;) {
        const char *length = header(bytes(in), (size_t)head, "content-length");
        size_t body = length ? strtoul(length, NULL, 10) : 0;
        if (header(bytes(in), (size_t)head, "transfer-encoding")) return fail("upstream: body without a length"), false;
        if (size(in) < (size_t)head + 4 + body) return true;
        char *request = bytes(in);
        in->start += (size_t)head + 4 + body;
        bool kept;
        if (!strncmp(request, "POST /v1/chat/completions ", 26))
            kept = upstream_begin(u, request + head + 4, body);
        else if (!strncmp(request, "GET /v1/models ", 15))
            kept = upstream_reply(u, "200 OK",
                                  "{\"object\":\"list\",\"data\":[{\"id\":\"bench/model\",\"object\":\"model\","
                                  "\"created\":1764000000,\"owned_by\":\"bench\",\"provider\":\"bench\"}]}");
        else
            kept = upstream_reply(u, "404 Not Found", "{\"error\":{\"message\":\"Not found\",\"type\":\"not_found\"}}");
        if (!kept) return false;
    }
    return true;
}

static void upstream_ready(struct upstream *u, uint32_t events) {
    bool kept = true;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) kept = receive(&u->peer) && upstream_serve(u);
    if (kept && events & EPOLLOUT) {
        kept = flush(&u->peer);
        if (kept && !size(&u->peer.out)) kept = u->run >= 0 && u->place < 0 ? upstream_continue(u) : upstream_serve(u);
    }
    if (!kept) upstream_drop(u);
}

static void upstream_accept(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 || errno != EAGAIN;) {
        if (fd < 0) die("accept");
        struct upstream *u = zeroed(1, sizeof *u);
        u->peer = (struct peer){.role = UPSTREAM, .fd = fd};
        u->run = u->place = -1;
        no_delay(fd);
        watch(&u->peer);
        bench.connections++;
    }
}

/* ---- the clients ---- */

struct client {
    struct peer peer;
    enum { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, BODY_END } expects;
    size_t chunk_left;
    struct buffer body;                     /* decoded, but not yet a whole event */
    size_t line;                            /* the start of the unfinished line in it */
    long run;
    uint64_t posted;
    long position;                          /* characters of the answer that have arrived */
    char token[TOKEN_SIZE + 1];             /* the token that `position` is in */
    bool complete;
};

/* Checks that every character is the upstream's at this position, however events cut or join the tokens. */
static bool take_content(struct client *c, const char *text, size_t length, uint64_t at) {
    for (size_t i = 0; i < length; i++) {
        long token = c->position / TOKEN_SIZE, offset = c->position % TOKEN_SIZE;
        if (token == bench.spec.tokens)
            return fail("run %ld: \"%.*s\" came after the last token", c->run, (int)(length - i), text + i), false;
        if (offset == 0) token_text(c->token, c->run, token);
        if (text[i] != c->token[offset])
            return fail("run %ld: token %ld is \"%s\", but its character %ld arrived as \"%.*s\"", c->run, token,
                        c->token, offset, (int)(length - i < 24 ? length - i : 24), text + i), false;
        if (++c->position % TOKEN_SIZE) continue;
        bench.added[bench.tokens_in++] = (double)(at - bench.sent[c->run * bench.spec.tokens + token]) / 1e6;
        if (token == 0) bench.first[bench.firsts_in++] = (double)(at - c->posted) / 1e6;
    }
    return true;
}

/* Reads the CPU clock of the measured process if a mark is due. */
static void mark_cpu(void) {
    clockid_t clock;
    struct timespec t = {0};
    if (!bench.spec.mark_every || bench.marks_in == MARKS) return;
    if (bench.events_in > 1 && bench.events_in % bench.spec.mark_every) return;
    if (clock_getcpuclockid((pid_t)bench.spec.cpu_pid, &clock) || clock_gettime(clock, &t)) die("cpu_pid");
    bench.marks[bench.marks_in].events = bench.events_in;
    bench.marks[bench.marks_in++].us = (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Tokens have no character that JSON escapes, so the content ends at the next quote. `data` ends with a newline. */
static bool take_piece(struct client *c, const char *data, size_t length, uint64_t at) {
    static const char key[] = "\"content\"";
    const char *text = memmem(data, length, key, sizeof key - 1);
    text = text ? text + sizeof key - 1 : data;
    text += strspn(text, " :");
    const char *end = *text == '"' ? memchr(text + 1, '"', (size_t)(data + length - text - 1)) : NULL;
    if (!end) return fail("run %ld: a piece without content: %.*s", c->run, (int)length, data), false;
    bench.events_in++;
    mark_cpu();
    return take_content(c, text + 1, (size_t)(end - text - 1), at);
}

static bool take_event(struct client *c, const char *frame, size_t length, uint64_t at) {
    const char *name = NULL, *data = "", *end = frame + length;
    size_t name_length = 0, data_length = 0;
    for (const char *line = frame, *next; line < end; line = next) {
        next = (char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        size_t count = (size_t)(next - line) - (next - line > 1 && next[-2] == '\r' ? 2 : 1);
        if (!strncmp(line, "event: ", 7)) name = line + 7, name_length = count - 7;
        if (!strncmp(line, "data: ", 6)) data = line + 6, data_length = count - 6;
    }
    if (!name) return true; /* a comment */
    if (c->complete) return fail("run %ld: event %.*s after complete", c->run, (int)name_length, name), false;
    bool piece = (name_length == 14 && !memcmp(name, "partial_output", 14)) ||
                 (name_length == 8 && !memcmp(name, "thinking", 8));
    if (piece) return take_piece(c, data, data_length, at);
    if (name_length == 5 && !memcmp(name, "error", 5))
        return fail("run %ld: error event: %.*s", c->run, (int)data_length, data), false;
    c->complete = name_length == 8 && !memcmp(name, "complete", 8);
    if (c->complete && !memmem(data, data_length, "\"succeeded\"", 11))
        return fail("run %ld: not succeeded: %.*s", c->run, (int)data_length, data), false;
    return true;
}

/* An event ends with an empty line; lines end with LF or CRLF. */
static bool take_events(struct client *c, uint64_t at) {
    for (char *newline; (newline = memchr(bytes(&c->body) + c->line, '\n', size(&c->body) - c->line)) != NULL;) {
        char *frame = bytes(&c->body);
        size_t length = (size_t)(newline + 1 - frame), line = length - c->line;
        bool empty = line == 1 || (line == 2 && newline[-1] == '\r');
        c->line = empty ? 0 : length;
        if (empty) c->body.start += length;
        if (empty && !take_event(c, frame, length, at)) return false;
    }
    return true;
}

static void client_post(struct client *c) {
    char body[128], request[512];
    c->run = bench.begun++;
    c->position = 0;
    c->complete = false;
    c->expects = HEAD;
    int length = snprintf(body, sizeof body, "{\"input\":\"bench run %ld\",\"model\":\"bench/model\"}", c->run);
    int count = snprintf(request, sizeof request,
                         "POST /api/agent/stream HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nContent-Type: application/json\r\n"
                         "Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", bench.spec.port, length, body);
    append(&c->peer.out, request, (size_t)count);
    c->posted = now();
}

static void client_stop(struct client *c) {
    if (c->peer.fd < 0) return;
    bench.clients_left--;
    release(&c->peer);
    free(c->body.data);
    c->body = (struct buffer){0};
}

static void client_start(struct client *c) {
    struct sockaddr_in address = loopback(bench.spec.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    c->peer = (struct peer){.role = CLIENT, .fd = fd};
    no_delay(fd);
    watch(&c->peer);
    client_post(c);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        fail("run %ld: connect: %s", c->run, strerror(errno));
        client_stop(c);
    } else {
        want_out(&c->peer, true);
    }
}

/* Checks that the answer is whole after the body's end. Returns false if it isn't, or if there is no next run. */
static bool client_finish(struct client *c) {
    if (c->position != bench.spec.tokens * TOKEN_SIZE)
        return fail("run %ld: %ld of %ld tokens arrived", c->run, c->position / TOKEN_SIZE, bench.spec.tokens), false;
    if (!c->complete) return fail("run %ld: no complete", c->run), false;
    if (size(&c->body) || size(&c->peer.in)) return fail("run %ld: bytes after the end", c->run), false;
    bench.finished++;
    bench.open--;
    if (bench.begun == bench.spec.runs) return false;
    client_post(c);
    return flush(&c->peer);
}

static bool take_head(struct client *c, const char *head, size_t length) {
    const char *encoding = header(head, length, "transfer-encoding");
    if (strncmp(head, "HTTP/1.1 200 ", 13) || !encoding || strncasecmp(encoding, "chunked", 7))
        return fail("run %ld: not a streamed 200: %.*s", c->run, (int)length, head), false;
    return true;
}

/* Decodes the chunked response as far as it has arrived. Returns false if the client has finished or failed. */
static bool client_decode(struct client *c, uint64_t at) {
    struct buffer *in = &c->peer.in;
    for (;;) {
        const char *mark = c->expects == HEAD ? "\r\n\r\n" : "\r\n";
        ssize_t length = c->expects == CHUNK_DATA ? 0 : before(in, mark);
        if (length < 0 || !size(in)) return true;
        char *text = bytes(in);
        if (c->expects != CHUNK_DATA) in->start += (size_t)length + strlen(mark);
        if (length && (c->expects == CHUNK_END || c->expects == BODY_END))
            return fail("run %ld: broken chunk, \"%.*s\" after its end", c->run, (int)length, text), false;
        switch (c->expects) {
        case HEAD:
            if (!take_head(c, text, (size_t)length)) return false;
            if (++bench.open > bench.most_open) bench.most_open = bench.open;
            c->expects = CHUNK_SIZE;
            break;
        case CHUNK_SIZE:
            c->chunk_left = strtoul(text, NULL, 16);
            c->expects = c->chunk_left ? CHUNK_DATA : BODY_END;
            break;
        case CHUNK_DATA: {
            size_t count = c->chunk_left < size(in) ? c->chunk_left : size(in);
            append(&c->body, text, count);
            in->start += count;
            c->chunk_left -= count;
            if (!take_events(c, at)) return false;
            if (!c->chunk_left) c->expects = CHUNK_END;
            break;
        }
        case CHUNK_END:
            c->expects = CHUNK_SIZE;
            break;
        case BODY_END:
            if (!client_finish(c)) return false;
            break;
        }
    }
}

static void client_ready(struct client *c, uint32_t events) {
    bool kept = true;
    if (events & EPOLLOUT) kept = flush(&c->peer);
    if (kept && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) kept = receive(&c->peer);
    if (!kept) fail("run %ld: no connection to the service, or closed before the end of the body", c->run);
    if (!kept || !client_decode(c, now())) client_stop(c);
}

/* ---- the loop ---- */

static struct peer commands = {.role = COMMANDS, .fd = STDIN_FILENO};
static bool commands_ended;

static void commands_ready(void) {
    ssize_t count = read(commands.fd, reserve(&commands.in, READ_SIZE), READ_SIZE);
    if (count > 0) commands.in.end += (size_t)count;
    if (count > 0) return;
    epoll_ctl(epoll, EPOLL_CTL_DEL, commands.fd, NULL);
    commands_ended = true;
}

/* Waits for sockets, for the next paced token, or until `until`, and handles what is due. */
static void turn(uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t at = now();
    if (heap.count && heap.at[0]->due < until) until = heap.at[0]->due;
    uint64_t wait = until > at ? until - at : 0;
    struct timespec timeout = {.tv_sec = (time_t)(wait / (1000 * MS)), .tv_nsec = (long)(wait % (1000 * MS))};
    int count = epoll_pwait2(epoll, events, EVENTS, until == NEVER ? NULL : &timeout, NULL);
    if (count < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < count; i++) {
        struct peer *p = events[i].data.ptr;
        switch (p->role) {
        case COMMANDS: commands_ready(); break;
        case LISTENER: upstream_accept(p->fd); break;
        case UPSTREAM: upstream_ready((struct upstream *)p, events[i].events); break;
        case CLIENT: client_ready((struct client *)p, events[i].events); break;
        }
    }
    for (at = now(); heap.count && heap.at[0]->due <= at;) {
        struct upstream *u = heap.at[0];
        heap_remove(u);
        if (!upstream_continue(u)) upstream_drop(u);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_latency(const char *name, double *values, long count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    double last = count ? (double)(count - 1) : 0;
    if (!count) values[0] = 0;
    printf(", \"%s\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name, values[(long)(last * .5)],
           values[(long)(last * .9)], values[(long)(last * .99)], values[(long)last]);
}

static void report(void) {
    double seconds = (double)(bench.end - bench.start) / 1e9;
    printf("{\"runs\": %ld, \"tokens\": %ld, \"events\": %ld, \"failures\": %ld, \"seconds\": %.3f, "
           "\"tokens_per_s\": %.0f", bench.finished, bench.tokens_in, bench.events_in, bench.failures, seconds,
           (double)bench.tokens_in / (seconds + 1e-9));
    print_latency("added_ms", bench.added, bench.tokens_in);
    print_latency("first_token_ms", bench.first, bench.firsts_in);
    printf(", \"cpu_us\": [");
    for (long i = 0; i < bench.marks_in; i++)
        printf("%s[%ld, %.1f]", i ? ", " : "", bench.marks[i].events, bench.marks[i].us);
    printf("], \"most_open\": %ld, \"upstream_requests\": %ld, \"upstream_connections\": %ld}\n", bench.most_open,
           bench.requests, bench.connections);
    fflush(stdout);
}

static void scenario(struct spec spec) {
    unsigned number = bench.number + 1;
    size_t tokens = (size_t)(spec.runs * spec.tokens), runs = (size_t)spec.runs;
    memset(&bench, 0, sizeof bench);
    bench.spec = spec;
    bench.number = number;
    bench.clients_left = spec.streams;
    bench.sent = zeroed(tokens, sizeof *bench.sent);
    bench.added = zeroed(tokens, sizeof *bench.added);
    bench.first = zeroed(runs, sizeof *bench.first);
    bench.asked = zeroed(runs, sizeof *bench.asked);
    struct client *clients = zeroed((size_t)spec.streams, sizeof *clients);
    bench.start = now();
    uint64_t limit = bench.start + (uint64_t)spec.limit_ms * MS;
    for (long started = 0; bench.clients_left && now() < limit;) {
        uint64_t next = bench.start + (uint64_t)spec.ramp_ms * MS * (uint64_t)started / (uint64_t)spec.streams;
        if (started < spec.streams && now() >= next)
            client_start(&clients[started++]);
        else
            turn(started < spec.streams && next < limit ? next : limit);
    }
    bench.end = now();
    if (bench.finished < spec.runs)
        fail("%ld of %ld runs did not end well%s", spec.runs - bench.finished, spec.runs,
             bench.end < limit ? "" : ": time is up");
    report();
    for (long i = 0; i < spec.streams; i++)
        if (clients[i].peer.role == CLIENT) client_stop(&clients[i]);
    free(clients), free(bench.sent), free(bench.added), free(bench.first), free(bench.asked);
    bench.number++, bench.begun = 0; /* no request for a run, and no run, is valid until the next scenario */
}

static struct spec parse(char *line) {
    struct spec spec = {.limit_ms = 60000};
    struct { const char *name; long *value; } keys[] = {
        {"port", &spec.port}, {"streams", &spec.streams}, {"runs", &spec.runs}, {"tokens", &spec.tokens},
        {"interval_us", &spec.interval_us}, {"thinking", &spec.thinking}, {"ramp_ms", &spec.ramp_ms},
        {"cpu_pid", &spec.cpu_pid}, {"mark_every", &spec.mark_every}, {"limit_ms", &spec.limit_ms}};
    enum { KEYS = sizeof keys / sizeof *keys };
    errno = 0;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        char *value = strchr(word, '=');
        int key = 0;
        if (value) *value++ = 0;
        while (key < KEYS && strcmp(keys[key].name, word)) key++;
        if (key == KEYS || !value) die("a scenario consists of the key=value words in the head of load.c");
        *keys[key].value = strtol(value, NULL, 10);
    }
    if (!spec.runs) spec.runs = spec.streams;
    if (spec.port < 1 || spec.streams < 1 || spec.runs < spec.streams || spec.tokens < 1 || spec.interval_us < 0)
        die("a scenario needs port, streams and tokens, and at least one run for each stream");
    return spec;
}

/* Returns the next line of standard input, and serves the upstream meanwhile. Returns NULL at the end of the input. */
static char *next_line(void) {
    ssize_t length;
    while ((length = before(&commands.in, "\n")) < 0) {
        if (commands_ended) return NULL;
        turn(NEVER);
    }
    char *line = bytes(&commands.in);
    line[length] = 0;
    commands.in.start += (size_t)length + 1;
    return line;
}

static void listen_upstream(long port) {
    static struct peer listener = {.role = LISTENER};
    struct sockaddr_in address = loopback(port);
    socklen_t length = sizeof address;
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof address)) die("bind");
    if (listen(listener.fd, SOMAXCONN)) die("listen");
    getsockname(listener.fd, (struct sockaddr *)&address, &length);
    watch(&listener);
    printf("{\"upstream_port\": %d}\n", ntohs(address.sin_port));
    fflush(stdout);
}

int main(int count, char **arguments) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max; /* two sockets for each stream */
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_upstream(count > 1 ? strtol(arguments[1], NULL, 10) : 0);
    watch(&commands);
    for (char *line; (line = next_line()) != NULL;) {
        struct spec spec = parse(line);
        if (2 * (rlim_t)spec.streams + 64 > files.rlim_cur) die("ulimit -n is too low for this number of streams");
        scenario(spec);
    }
    return ever_failed;
}
