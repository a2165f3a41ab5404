/* host.c - see host.h: what both sides of it need. Pure. */
#include "etcd-server/host/host.h"

void log_write_free(struct log_write *request)
{
    if (request == NULL)
        return;
    free(request->entries);
    free(request->memory);
    free(request->snapshot);
    free(request);
}
