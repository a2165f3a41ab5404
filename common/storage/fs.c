/* fs.c - see fs.h: the conveniences that every kind of file system shares. */
#include "common/storage/fs.h"

void fs_close(struct fs_file *file)
{
    if (file != NULL)
        file->ops->close(file);
}
