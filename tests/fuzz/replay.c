/* replay.c - run a fuzz target over the files named on the command line, without libFuzzer. */
#include "common/base/file.h"
#include "common/base/limits.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct buf input = BUF_INIT(64 * MIB);
        struct err err = ERR_INIT;

        if (file_read_all(argv[i], &input, &err) < 0) {
            (void)fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        (void)LLVMFuzzerTestOneInput(input.data, input.size);
        buf_free(&input);
    }
    return 0;
}
