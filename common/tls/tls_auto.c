/*
 * tls_auto.c - see tls_auto.h. P-521, O=etcd without CN, serverAuth, no backdating: etcd 3.5's.
 */
#include "common/tls/tls_auto.h"
#include "common/base/file.h"
#include "common/tls/x509.h"

#define YEAR_S (365LL * 86400)

static int make_pair(const char *cert_file, const char *key_file, struct tls_list hosts,
                     unsigned years, int64_t now_s, struct err *err)
{
    static const char *const org = "etcd";
    struct x509_sans sans = {0};
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    struct buf cert_pem = BUF_INIT(BUF_UNLIMITED), key_pem = BUF_INIT(BUF_UNLIMITED);
    int rc = -1;

    for (size_t i = 0; i < hosts.count; i++)
        if (x509_sans_add(&sans, hosts.items[i], err) < 0)
            goto out;
    key = x509_key_new(X509_ECDSA_P521);
    if (x509_cert_new(&(struct x509_request){.orgs = &org,
                                             .org_count = 1,
                                             .sans = &sans,
                                             .usages = X509_SERVER,
                                             .not_before_s = now_s,
                                             .not_after_s = now_s + (int64_t)years * YEAR_S,
                                             .long_serial = true},
                      key, NULL, key, &cert, err) < 0)
        goto out;
    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    /* The key first: a certificate without its key is what a power cut may not leave. */
    if (file_write_atomic(key_file, buf_slice(&key_pem), 0600, true, err) < 0 ||
        file_write_atomic(cert_file, buf_slice(&cert_pem), 0644, true, err) < 0)
        goto out;
    rc = 0;
out:
    x509_wipe(&key_pem);
    buf_free(&cert_pem);
    x509_cert_free(cert);
    x509_key_free(key);
    x509_sans_free(&sans);
    return rc;
}

int tls_auto_pair(const char *data_dir, const char *kind, struct tls_list hosts, unsigned years,
                  int64_t now_s, char **cert_file, char **key_file, bool *made, struct err *err)
{
    char *directory = xasprintf("%s/fixtures/%s", data_dir, kind);
    char *cert = xasprintf("%s/cert.pem", directory), *key = xasprintf("%s/key.pem", directory);
    bool there = file_exists(cert) && file_exists(key);
    int rc = -1;

    if (years == 0)
        err_set(err, ERR_USAGE, "selfSignedCertValidity is invalid,it should be greater than 0");
    else if (there)
        rc = 0;
    else if (file_make_dirs(directory, 0700, err) == 0)
        rc = make_pair(cert, key, hosts, years, now_s, err);
    free(directory);
    if (rc < 0) {
        free(cert);
        free(key);
        return -1;
    }
    *cert_file = cert;
    *key_file = key;
    if (made != NULL)
        *made = !there;
    return 0;
}
