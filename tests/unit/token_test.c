/*
 * token_test.c - simple tokens, JSON web tokens of every method with keys made here, and passwords.
 * One fixed token was made with another program's HMAC: it proves the format.
 */
#include "etcd-server/service/jwt.h"
#include "etcd-server/service/password.h"
#include "etcd-server/service/simple_token.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

static struct err err;

/* ---- simple ---- */

static void a_simple_token_lives_from_use_to_use(void **state)
{
    struct simple_tokens *tokens = simple_tokens_new(1000);

    (void)state;
    simple_tokens_add(tokens, "u", "abcdefghijklmnop.14", 0);
    assert_string_equal(simple_tokens_use(tokens, "abcdefghijklmnop.14", 900), "u");
    assert_string_equal(simple_tokens_use(tokens, "abcdefghijklmnop.14", 1800), "u");
    assert_null(simple_tokens_use(tokens, "abcdefghijklmnop.14", 2800));
    simple_tokens_expire(tokens, 2799);
    assert_int_equal(simple_tokens_count(tokens), 1);
    simple_tokens_expire(tokens, 2800);
    assert_int_equal(simple_tokens_count(tokens), 0);
    simple_tokens_free(tokens);
}

static void only_the_whole_text_counts(void **state)
{
    static const char *const wrong[] = {"",
                                        ".",
                                        "abc",
                                        "abcdefghijklmnop.",
                                        "abcdefghijklmnop.140",
                                        "abcdefghijklmnop.14 ",
                                        "abcdefghijklmnoq.14",
                                        ".14",
                                        "abcdefghijklmnop.014",
                                        "abcdefghijklmnop.99999999999999999999999999"};
    struct simple_tokens *tokens = simple_tokens_new(1000);

    (void)state;
    simple_tokens_add(tokens, "u", "abcdefghijklmnop.14", 0);
    simple_tokens_add(tokens, "u", "no token", 0);
    assert_int_equal(simple_tokens_count(tokens), 1);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_null(simple_tokens_use(tokens, wrong[i], 1));
    simple_tokens_free(tokens);
}

static void tokens_go_by_user_or_all(void **state)
{
    struct simple_tokens *tokens = simple_tokens_new(1000);

    (void)state;
    simple_tokens_add(tokens, "u", "a.1", 0);
    simple_tokens_add(tokens, "v", "a.2", 0);
    simple_tokens_add(tokens, "u", "a.3", 0);
    simple_tokens_drop(tokens, "u");
    assert_int_equal(simple_tokens_count(tokens), 1);
    assert_string_equal(simple_tokens_use(tokens, "a.2", 1), "v");
    simple_tokens_drop(tokens, NULL);
    assert_int_equal(simple_tokens_count(tokens), 0);
    simple_tokens_free(tokens);
}

static uint64_t counter(void *arg)
{
    return *(uint64_t *)arg += UINT64_C(0x0123456789abcdef);
}

static void letters_are_letters(void **state)
{
    char text[SIMPLE_TOKEN_LETTERS + 1], other[SIMPLE_TOKEN_LETTERS + 1];
    uint64_t seed = 0;

    (void)state;
    simple_token_letters(counter, &seed, text);
    simple_token_letters(counter, &seed, other);
    assert_int_equal(strlen(text), SIMPLE_TOKEN_LETTERS);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                     SIMPLE_TOKEN_LETTERS);
    assert_string_not_equal(text, other);
}

/* ---- JWT ---- */

static struct slice pem_of(EVP_PKEY *key, bool is_private, BIO *bio)
{
    char *data;
    long bytes;

    assert_int_equal(is_private ? PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
                                : PEM_write_bio_PUBKEY(bio, key),
                     1);
    bytes = BIO_get_mem_data(bio, &data);
    return slice_of(data, (size_t)bytes);
}

static struct jwt *make(const char *method, struct slice private_key, struct slice public_key)
{
    struct jwt_options options = {method, private_key, public_key, 300};
    struct jwt *jwt = NULL;

    if (jwt_new(&options, &jwt, &err) < 0)
        fail_msg("%s: %s", method, err.text);
    return jwt;
}

static void checks_out(struct jwt *signer, struct jwt *verifier)
{
    struct arena arena;
    struct jwt_claims claims;
    char *token, *dot;

    arena_init(&arena, 1 << 20);
    token = jwt_sign(signer, "al\"ice", 17, 1000, &arena);
    assert_non_null(token);
    for (int again = 0; again < 2; again++) { /* the second time it is remembered */
        assert_true(jwt_verify(verifier, token, 1299, &claims));
        assert_string_equal(claims.username, "al\"ice");
        assert_int_equal(claims.revision, 17);
    }
    assert_false(jwt_verify(verifier, token, 1300, &claims)); /* its time is over */
    assert_false(jwt_verify(verifier, token, 1300, &claims)); /* and it is forgotten */
    dot = strrchr(token, '.');
    dot[1] = dot[1] == 'A' ? 'B' : 'A';
    assert_false(jwt_verify(verifier, token, 1000, &claims));
    dot[1] = '\0';
    assert_false(jwt_verify(verifier, token, 1000, &claims));
    arena_free(&arena);
}

static void every_method_signs_and_verifies(void **state)
{
    static const char *const rsa_methods[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
    static const char *const hmac_methods[] = {"HS256", "HS384", "HS512"};
    static const struct {
        const char *method, *curve;
    } curves[] = {{"ES256", "P-256"}, {"ES384", "P-384"}, {"ES512", "P-521"}};
    EVP_PKEY *rsa = EVP_RSA_gen(2048);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rsa_methods) + ARRAY_LEN(curves); i++) {
        bool is_rsa = i < ARRAY_LEN(rsa_methods);
        size_t at = is_rsa ? i : i - ARRAY_LEN(rsa_methods);
        EVP_PKEY *key = is_rsa ? rsa : EVP_EC_gen(curves[at].curve);
        const char *method = is_rsa ? rsa_methods[at] : curves[at].method;
        BIO *secret = BIO_new(BIO_s_mem()), *open = BIO_new(BIO_s_mem());
        struct slice private_key = pem_of(key, true, secret), public_key = pem_of(key, false, open);
        struct jwt *signer = make(method, private_key, SLICE_EMPTY);
        struct jwt *verifier = make(method, SLICE_EMPTY, public_key);
        struct jwt *both = make(method, private_key, public_key);

        assert_true(jwt_can_sign(signer));
        assert_false(jwt_can_sign(verifier));
        checks_out(signer, verifier);
        checks_out(both, signer);
        jwt_free(signer);
        jwt_free(verifier);
        jwt_free(both);
        BIO_free(secret);
        BIO_free(open);
        if (!is_rsa)
            EVP_PKEY_free(key);
    }
    EVP_PKEY_free(rsa);
    for (size_t i = 0; i < ARRAY_LEN(hmac_methods); i++) {
        struct jwt *jwt = make(hmac_methods[i], slice_text("a secret"), SLICE_EMPTY);

        checks_out(jwt, jwt);
        jwt_free(jwt);
    }
}

static void forgeries_are_refused(void **state)
{
    /* {"alg":"HS256","typ":"JWT"}.{"exp":2000000000,"revision":3,"username":"root"}, key "k" */
    static const char good[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
                               "eyJleHAiOjIwMDAwMDAwMDAsInJldmlzaW9uIjozLCJ1c2VybmFtZSI6InJvb3QifQ."
                               "ge2A2DDkWKTT3onj0uvAqOx7w-9ekxc4SQGbtxRk6nE";
    static const char *const bad[] = {
        "", ".", "..", "...", "a.b.c", "a.b.c.d",
        /* alg none, and no signature */
        "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6M30.",
        /* a good token for another key */
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjk5OTk5OTk5OTksInJldmlzaW9uIjozLCJ1c2VybmFt"
         "ZSI6InJvb3QifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")};
    struct jwt *jwt = make("HS256", slice_text("k"), SLICE_EMPTY);
    struct jwt *longer = make("HS512", slice_text("k"), SLICE_EMPTY);
    struct jwt_claims claims;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_true(jwt_verify(jwt, good, 1900000000, &claims));
    assert_string_equal(claims.username, "root");
    assert_int_equal(claims.revision, 3);
    assert_string_equal(jwt_sign(jwt, "root", 3, 2000000000 - 300, &arena), good);
    assert_false(jwt_verify(longer, good, 1900000000, &claims)); /* another method */
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(jwt_verify(jwt, bad[i], 1900000000, &claims));
    arena_free(&arena);
    jwt_free(jwt);
    jwt_free(longer);
}

static void bad_keys_are_named(void **state)
{
    EVP_PKEY *curve = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    BIO *secret = BIO_new(BIO_s_mem()), *foreign = BIO_new(BIO_s_mem());
    struct slice pem = pem_of(curve, true, secret), public_key = pem_of(other, false, foreign);
    const struct {
        struct jwt_options options;
        const char *word;
    } cases[] = {
        {{NULL, pem, SLICE_EMPTY, 300}, "sign-method"},
        {{"none", pem, SLICE_EMPTY, 300}, "none"},
        {{"RS256", pem, SLICE_EMPTY, 300}, "RSA"},
        {{"ES384", pem, SLICE_EMPTY, 300}, "curve"},
        {{"ES256", SLICE_EMPTY, SLICE_EMPTY, 300}, "no key"},
        {{"ES256", slice_text("rubbish"), SLICE_EMPTY, 300}, "no key"},
        {{"ES256", pem, public_key, 300}, "no pair"},
    };
    struct jwt *jwt = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(jwt_new(&cases[i].options, &jwt, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, cases[i].word));
    }
    EVP_PKEY_free(curve);
    EVP_PKEY_free(other);
    BIO_free(secret);
    BIO_free(foreign);
}

/* ---- passwords ---- */

static void passwords_are_those_of_etcd(void **state)
{
    /* user alice of the snapshot of a real etcd 3.5.30 */
    static const char alice[] = "$2a$10$e.cSW0PNeb1n2J3YuMsxD.UsuT6BxLkUa.DF4mHnNnHcs/L4nMy5K";
    static const uint8_t salt[PASSWORD_SALT_BYTES] = "0123456789abcdef";
    char hash[PASSWORD_HASH_BYTES];

    (void)state;
    assert_true(password_matches("alicepw", slice_text(alice)));
    assert_false(password_matches("alicepW", slice_text(alice)));
    assert_false(password_matches("", slice_text(alice)));
    assert_true(password_hash("p\xff\xa3 \xc3\xa4", 4, salt, hash));
    assert_memory_equal(hash, "$2a$04$", 7);
    assert_true(password_matches("p\xff\xa3 \xc3\xa4", slice_text(hash)));
    assert_false(password_matches("p", slice_text(hash)));
    assert_false(password_hash("p", 3, salt, hash));
}

static void what_is_no_bcrypt_matches_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        "$2a$",
        "plain",
        "$1$012345678901234567890123456789012345678901234567890123456",
        "$2a$04$!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
        "$2a$99$0123456789012345678901234567890123456789012345678901"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(password_matches("p", slice_text(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simple_token_lives_from_use_to_use),
        cmocka_unit_test(only_the_whole_text_counts),
        cmocka_unit_test(tokens_go_by_user_or_all),
        cmocka_unit_test(letters_are_letters),
        cmocka_unit_test(every_method_signs_and_verifies),
        cmocka_unit_test(forgeries_are_refused),
        cmocka_unit_test(bad_keys_are_named),
        cmocka_unit_test(passwords_are_those_of_etcd),
        cmocka_unit_test(what_is_no_bcrypt_matches_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
