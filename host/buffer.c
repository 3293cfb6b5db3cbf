/* buffer.c - the growing buffer a message is pickled into: ordinary memory while small, a block once it is large, so
 * that a large message is copied once, into the memory that it travels in. */
#include "codec_fast.h"

#include <stdlib.h>
#include <string.h>

#include "host.h"

#define BLOCK_FROM ((size_t)64 << 10)

bool lace_buffer_grow(lace_buffer *buffer, size_t used, size_t need)
{
    if (need > (size_t)PY_SSIZE_T_MAX / 2 - used) {
        PyErr_NoMemory();
        return false;
    }
    size_t room = buffer->room * 2 > used + need ? buffer->room * 2 : used + need;
    if (room < 512)
        room = 512;
    char *data;
    lace_block *block = NULL;
    if (room < BLOCK_FROM) {
        data = realloc(buffer->data, room);
        if (data == NULL) {
            PyErr_NoMemory();
            return false;
        }
    } else {
        if (lace_block_create(lace_region_of_host(), room, &block) != LACE_OK) {
            PyErr_Format(PyExc_MemoryError, "no room for a message of %zu bytes in the memory that workers share",
                         room);
            return false;
        }
        data = lace_block_data(block);
        if (used > 0)
            memcpy(data, buffer->data, used);
        lace_buffer_free(buffer);
    }
    *buffer = (lace_buffer){.data = data, .room = room, .block = block};
    return true;
}

void lace_buffer_free(lace_buffer *buffer)
{
    if (buffer->block != NULL)
        lace_block_destroy(buffer->block);
    else
        free(buffer->data);
    *buffer = (lace_buffer){0};
}
