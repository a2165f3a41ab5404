/*
 * base64_avx2.c - see base64_avx2.h.
 *
 *   encode:  3 bytes into each 32-bit lane -> four fields of 6 bits (two multiplications move two
 *            each) -> a character is its field plus an offset that depends on its range
 *   decode:  is every character in the alphabet? two lookups, by its high and its low four bits,
 *            have a bit in common when it is not -> minus the offset of its range -> fields joined
 *
 * Without AVX2 nothing is taken and base64.c does all.
 */
#include "common/base/base64_avx2.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define BOTH_LANES(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)
#define GROUP_BYTES 24
#define GROUP_CHARACTERS 32
#define LOAD_BYTES 28 /* two loads of 16 bytes, the second one 12 behind the first */
/* A store of 32 bytes for 24: the rest of the text must decode to the 8 more. */
#define DECODE_MIN_CHARACTERS (GROUP_CHARACTERS + 12)

bool base64_avx2_there(void)
{
    return __builtin_cpu_supports("avx2");
}

AVX2 static __m256i fields_of(const uint8_t *in)
{
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)in);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(in + 12));
    __m256i lanes = _mm256_shuffle_epi8(
        _mm256_set_m128i(high, low), BOTH_LANES(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(lanes, _mm256_set1_epi32(0x0fc0fc00)),
                                     _mm256_set1_epi32(0x04000040));
    __m256i even = _mm256_mullo_epi16(_mm256_and_si256(lanes, _mm256_set1_epi32(0x003f03f0)),
                                      _mm256_set1_epi32(0x01000010));

    return _mm256_or_si256(odd, even);
}

/* Ranges of a field: 0-25 'A', 26-51 'a', 52-61 '0', 62 '+', 63 '/'; the table is by range. */
AVX2 static __m256i characters_of(__m256i fields)
{
    const __m256i offsets =
        BOTH_LANES('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
                   '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    __m256i range = _mm256_subs_epu8(fields, _mm256_set1_epi8(51)); /* 0, or 1 to 12 */
    __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), fields);

    range = _mm256_or_si256(range, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    return _mm256_add_epi8(fields, _mm256_shuffle_epi8(offsets, range));
}

AVX2 size_t base64_avx2_encode(const uint8_t *in, size_t bytes, uint8_t *text)
{
    size_t taken = 0;

    for (; bytes - taken >= LOAD_BYTES; taken += GROUP_BYTES, text += GROUP_CHARACTERS)
        _mm256_storeu_si256((__m256i *)(void *)text, characters_of(fields_of(in + taken)));
    return taken;
}

/* The six bits of each character; false when one is not in the alphabet. */
AVX2 static bool values_of(__m256i text, __m256i *values)
{
    const __m256i low_bits = BOTH_LANES(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                        0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
    const __m256i high_bits = BOTH_LANES(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08, 0x10, 0x10,
                                         0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
    const __m256i offsets =
        BOTH_LANES(0, 63 - '/', 62 - '+', 52 - '0', -'A', -'A', 26 - 'a', 26 - 'a', 0, 0, 0, 0, 0,
                   0, 0, 0); /* by the high half; '/' shares its own with '+' and takes one less */
    __m256i nibble = _mm256_set1_epi8(0x0f);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), nibble);
    __m256i low = _mm256_and_si256(text, nibble);
    __m256i slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('/')); /* -1 where it is one */

    if (!_mm256_testz_si256(_mm256_shuffle_epi8(low_bits, low),
                            _mm256_shuffle_epi8(high_bits, high)))
        return false;
    *values = _mm256_add_epi8(text, _mm256_shuffle_epi8(offsets, _mm256_add_epi8(slash, high)));
    return true;
}

AVX2 size_t base64_avx2_decode(const uint8_t *text, size_t characters, uint8_t *out)
{
    const __m256i order = BOTH_LANES(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i gather = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
    size_t taken = 0;
    __m256i values;

    for (; characters - taken >= DECODE_MIN_CHARACTERS; taken += GROUP_CHARACTERS) {
        if (!values_of(_mm256_loadu_si256((const __m256i *)(const void *)(text + taken)), &values))
            break;
        values = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140)); /* 12 bits */
        values = _mm256_madd_epi16(values, _mm256_set1_epi32(0x00011000));    /* 24 bits */
        values = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(values, order), gather);
        _mm256_storeu_si256((__m256i *)(void *)out, values);
        out += GROUP_BYTES;
    }
    return taken;
}

#else

bool base64_avx2_there(void)
{
    return false;
}

size_t base64_avx2_encode(const uint8_t *in, size_t bytes, uint8_t *text)
{
    (void)in;
    (void)bytes;
    (void)text;
    return 0;
}

size_t base64_avx2_decode(const uint8_t *text, size_t characters, uint8_t *out)
{
    (void)text;
    (void)characters;
    (void)out;
    return 0;
}

#endif
