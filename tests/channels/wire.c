/* wire.c - sealed streams as bytes. */
#include "wire.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 20) /* the most that a pipe holds */

struct lace_record wire_record(const wire *of, size_t index)
{
    struct lace_record record;
    memcpy(&record, of->bytes + of->at[index], sizeof record);
    return record;
}

size_t wire_whole(const size_t *sizes, size_t count, size_t record)
{
    const size_t data = LACE_SEALED_CHUNK - sizeof(struct lace_chunk) - 1;
    size_t messages = 0, next = 1; /* after the opening, which takes room from the first */
    while (messages < count) {
        size_t size = sizes[messages] + (messages == 0 ? sizeof(struct lace_opening) : 0);
        next += size == 0 ? 1 : (size + data - 1) / data;
        if (next > record)
            break;
        messages++;
    }
    return messages;
}

size_t wire_whole_at(const wire *of, const size_t *sizes, size_t count, size_t byte)
{
    size_t record = 0;
    while (record < of->count && of->at[record + 1] <= byte)
        record++;
    return wire_whole(sizes, count, record);
}

static void find_records(wire *in)
{
    size_t at = 0;
    in->count = 0;
    while (at < in->size) {
        CHECK(in->count + 1 < sizeof in->at / sizeof *in->at);
        in->at[in->count++] = at;
        struct lace_record record;
        CHECK(in->size - at >= sizeof record);
        memcpy(&record, in->bytes + at, sizeof record);
        CHECK_UINT(record.magic, LACE_RECORD_MAGIC);
        at += sizeof record + record.size;
    }
    CHECK_UINT(at, in->size);
    in->at[in->count] = at;
}

wire wire_of(const lace_seal_options *options, const size_t *sizes, size_t count)
{
    wire made = {.bytes = malloc(ROOM)};
    unsigned char *data = malloc(ROOM);
    int fds[2];
    lace_sender *sender;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK(fcntl(fds[1], F_SETPIPE_SZ, (int)ROOM) > 0);
    CHECK_OK(lace_sealed_sender(fds[1], options, &sender));
    for (size_t i = 0; i < count; i++) {
        memset(data, 'a' + (int)(i % 26), sizes[i]);
        lace_payload payload = payload_of(data, sizes[i]);
        CHECK_OK(lace_send(sender, &payload, TRY));
    }
    lace_sender_destroy(sender);
    ssize_t part;
    while ((part = read(fds[0], made.bytes + made.size, ROOM - made.size)) > 0)
        made.size += (size_t)part;
    close(fds[0]);
    free(data);
    find_records(&made);
    return made;
}

wire wire_copy(const wire *copied)
{
    wire made = *copied;
    made.bytes = malloc(ROOM);
    memcpy(made.bytes, copied->bytes, copied->size);
    return made;
}

void wire_free(wire *freed)
{
    free(freed->bytes);
    freed->bytes = NULL;
}

void wire_add_bytes(wire *to, const void *bytes, size_t size)
{
    if (!to->bytes)
        to->bytes = malloc(ROOM);
    CHECK(size <= ROOM - to->size);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

void wire_add(wire *to, const wire *from, size_t first, size_t last)
{
    wire_add_bytes(to, from->bytes + from->at[first], from->at[last] - from->at[first]);
}

static void check_message(const lace_message *message, size_t index, const size_t *sizes, size_t count)
{
    const char *data = lace_message_data(message);
    CHECK(index < count);
    CHECK_UINT(lace_message_size(message), sizes[index]);
    for (size_t i = 0; i < sizes[index]; i++)
        CHECK(data[i] == (char)('a' + index % 26));
}

outcome wire_drain(lace_receiver *receiver, const size_t *sizes, size_t count)
{
    lace_message *message = message_make(NULL);
    outcome got = {0, LACE_OK};
    while ((got.status = lace_recv(receiver, message, NULL)) == LACE_OK)
        check_message(message, got.messages++, sizes, count);
    CHECK_STATUS(got.status, lace_recv(receiver, message, TRY));
    CHECK_STATUS(got.status, lace_recv(receiver, message, NULL));
    CHECK_UINT(lace_message_size(message), 0);
    lace_message_destroy(message);
    return got;
}

outcome wire_play(const wire *played, const lace_seal_options *options, const size_t *sizes, size_t count)
{
    int fds[2];
    lace_receiver *receiver;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    if (played->size > 65536)
        CHECK(fcntl(fds[1], F_SETPIPE_SZ, (int)ROOM) > 0);
    if (played->size > 0)
        CHECK(write(fds[1], played->bytes, played->size) == (ssize_t)played->size);
    close(fds[1]);
    if (options->key != NULL)
        CHECK_OK(lace_sealed_receiver(fds[0], options, &receiver));
    else
        CHECK_OK(lace_pipe_receiver(fds[0], options->name, &receiver));
    outcome got = wire_drain(receiver, sizes, count);
    lace_receiver_destroy(receiver);
    return got;
}
