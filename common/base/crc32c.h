/*
 * crc32c.h - the checksum of the log and of .snap files: reflected polynomial 0x82f63b78, initial
 * value and final xor 0xffffffff. crc32c(0, "123456789") is 0xe3069283. Pure; thread: any.
 */
#ifndef COMMON_BASE_CRC32C_H
#define COMMON_BASE_CRC32C_H

#include "common/base/base.h"

/* Continue from `crc`, an earlier result; 0 to start. Uses the CPU's instruction if it has one. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* The same by tables, on every CPU; for the test that both agree. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t bytes);

#endif
