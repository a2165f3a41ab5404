/*
 * password.c - see password.h.
 *
 * libcrypt is asked for $2b$: the algorithm of Go's bcrypt, which calls it $2a$. What libcrypt does
 * under the name $2a$ differs for some passwords with bytes above 0x7f.
 */
#include "etcd-server/service/password.h"
#include "common/base/base.h"

#include <crypt.h>
#include <openssl/crypto.h>

#define BCRYPT_TEXT 60    /* characters of a bcrypt text */
#define BCRYPT_MINOR_AT 2 /* $2a$: which letter */

/* crypt() with the letter 'b' in `setting`; `hash` gets the letter 'a'. */
static bool run(const char *password, const char *setting, char hash[PASSWORD_HASH_BYTES])
{
    struct crypt_data *data = xalloc(sizeof(*data)); /* 32 KiB: not for the stack */
    const char *text = crypt_rn(password, setting, data, (int)sizeof(*data));
    bool made = text != NULL && strlen(text) == BCRYPT_TEXT && text[BCRYPT_MINOR_AT] == 'b';

    if (made) {
        memcpy(hash, text, BCRYPT_TEXT + 1);
        hash[BCRYPT_MINOR_AT] = 'a';
    }
    wipe(data, sizeof(*data));
    free(data);
    return made;
}

bool password_hash(const char *password, unsigned cost, const uint8_t salt[PASSWORD_SALT_BYTES],
                   char hash[PASSWORD_HASH_BYTES])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    if (crypt_gensalt_rn("$2b$", cost, (const char *)salt, PASSWORD_SALT_BYTES, setting,
                         (int)sizeof(setting)) == NULL)
        return false;
    return run(password, setting, hash);
}

bool password_matches(const char *password, struct slice stored)
{
    char setting[BCRYPT_TEXT + 1], hash[PASSWORD_HASH_BYTES];
    bool same;

    if (stored.size != BCRYPT_TEXT || memcmp(stored.data, "$2", 2) != 0 || stored.data[3] != '$')
        return false;
    memcpy(setting, stored.data, BCRYPT_TEXT);
    setting[BCRYPT_TEXT] = '\0';
    setting[BCRYPT_MINOR_AT] = 'b';
    if (!run(password, setting, hash))
        return false;
    hash[BCRYPT_MINOR_AT] = (char)stored.data[BCRYPT_MINOR_AT];
    same = CRYPTO_memcmp(hash, stored.data, BCRYPT_TEXT) == 0;
    wipe(hash, sizeof(hash));
    return same;
}
