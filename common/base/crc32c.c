/*
 * crc32c.c - see crc32c.h: SSE 4.2's instruction, or eight tables that take eight bytes at a time.
 *
 * The instruction takes three cycles but another can begin with each: so long pieces are summed in
 * three lanes at once. The CRC of a lane is then moved over the bytes behind it, which multiplies
 * it by a power of x: carry-less, by a constant for that distance.
 *
 * A CRC without its initial value is linear, so the entry of a byte is the xor of the entries of
 * its bits: each table is written as eight basis values and expanded by the compiler. Table k is
 * the effect of a byte with k zero bytes behind it.
 */
#include "common/base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

#define BIT(byte, bit, basis) (((byte) >> (bit)&1) != 0 ? (basis) : 0U)
#define ENTRY(byte, b0, b1, b2, b3, b4, b5, b6, b7)                                                \
    (BIT(byte, 0, b0) ^ BIT(byte, 1, b1) ^ BIT(byte, 2, b2) ^ BIT(byte, 3, b3) ^                   \
     BIT(byte, 4, b4) ^ BIT(byte, 5, b5) ^ BIT(byte, 6, b6) ^ BIT(byte, 7, b7))
#define ENTRIES_4(byte, ...)                                                                       \
    ENTRY((byte), __VA_ARGS__), ENTRY((byte) + 1, __VA_ARGS__), ENTRY((byte) + 2, __VA_ARGS__),    \
        ENTRY((byte) + 3, __VA_ARGS__)
#define ENTRIES_16(byte, ...)                                                                      \
    ENTRIES_4((byte), __VA_ARGS__), ENTRIES_4((byte) + 4, __VA_ARGS__),                            \
        ENTRIES_4((byte) + 8, __VA_ARGS__), ENTRIES_4((byte) + 12, __VA_ARGS__)
#define ENTRIES_64(byte, ...)                                                                      \
    ENTRIES_16((byte), __VA_ARGS__), ENTRIES_16((byte) + 16, __VA_ARGS__),                         \
        ENTRIES_16((byte) + 32, __VA_ARGS__), ENTRIES_16((byte) + 48, __VA_ARGS__)
#define SLICE(...)                                                                                 \
    {                                                                                              \
        ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), ENTRIES_64(128, __VA_ARGS__),     \
            ENTRIES_64(192, __VA_ARGS__)                                                           \
    }

static const uint32_t tables[8][256] = {
    SLICE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc,
          0x82f63b78),
    SLICE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604,
          0xfbc3faf9),
    SLICE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9,
          0x8b277743),
    SLICE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7,
          0x52a0c93f),
    SLICE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae,
          0x6ea2d55c),
    SLICE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb,
          0x1c08b7d6),
    SLICE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a,
          0xf56e0ef4),
    SLICE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32,
          0x34019664),
};

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        crc ^=
            (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = tables[7][crc & 0xff] ^ tables[6][crc >> 8 & 0xff] ^ tables[5][crc >> 16 & 0xff] ^
              tables[4][crc >> 24] ^ tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^
              tables[0][at[7]];
    }
    for (; bytes > 0; bytes--, at++)
        crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data,
                                                               size_t bytes)
{
    const uint8_t *at = data;
    uint64_t state = (uint32_t)~crc, word;

    for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        state = _mm_crc32_u64(state, word);
    }
    crc = (uint32_t)state;
    for (; bytes > 0; bytes--, at++)
        crc = _mm_crc32_u8(crc, *at);
    return ~crc;
}

#define LANE_BYTES 1024U
/* x^(8n - 33) modulo the polynomial, lowest bit = x^31: moves a CRC over n bytes. 33 of the powers
 * come from the product's form and from the instruction that reduces it. */
#define OVER_ONE_LANE 0x170076faU
#define OVER_TWO_LANES 0xa51b6135U

__attribute__((target("sse4.2,pclmul"))) static uint64_t moved(uint64_t crc, uint32_t over)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi64_si128((int64_t)over), 0);

    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
crc32c_lanes(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint64_t first = (uint32_t)~crc;

    for (; bytes >= 3 * LANE_BYTES; bytes -= 3 * LANE_BYTES, at += 2 * LANE_BYTES) {
        uint64_t second = 0, third = 0, words[3];

        for (const uint8_t *end = at + LANE_BYTES; at < end; at += sizeof(words[0])) {
            memcpy(&words[0], at, sizeof(words[0]));
            memcpy(&words[1], at + LANE_BYTES, sizeof(words[1]));
            memcpy(&words[2], at + 2 * LANE_BYTES, sizeof(words[2]));
            first = _mm_crc32_u64(first, words[0]);
            second = _mm_crc32_u64(second, words[1]);
            third = _mm_crc32_u64(third, words[2]);
        }
        first = moved(first, OVER_TWO_LANES) ^ moved(second, OVER_ONE_LANE) ^ third;
    }
    return crc32c_sse42(~(uint32_t)first, at, bytes);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    if (bytes >= 3 * LANE_BYTES && __builtin_cpu_supports("pclmul") &&
        __builtin_cpu_supports("sse4.2"))
        return crc32c_lanes(crc, data, bytes);
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse42(crc, data, bytes)
                                            : crc32c_portable(crc, data, bytes);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    return crc32c_portable(crc, data, bytes);
}

#endif
