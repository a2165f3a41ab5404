/* trim.c - see trim.h. Looking costs a walk over the free blocks, giving back some milliseconds. */
#include "etcd-server/host/trim.h"

#include "common/base/limits.h"

#include <malloc.h>

#define LOOK_MS 5000UL /* between two looks */

void trim_tick(struct trim *trim, uint64_t now_ms)
{
    if (now_ms < trim->next_ms)
        return;
    trim->next_ms = now_ms + LOOK_MS;
    if (mallinfo2().fordblks > FREE_MEMORY_MAX_BYTES)
        (void)malloc_trim(FREE_MEMORY_MAX_BYTES / 4);
}
