/*
 * verify_flags.c - what flags alone get wrong (F1, F2, T2, T3, P1, P2, U4, R4, R5), and the shape
 * of revocation lists (R1, R3), which each version of etcd reads differently (pki.md 2.8).
 */
#include "common/tls/tls.h"
#include "etcd-pki/verify.h"

#include <stdio.h>

#define VERSION_3_6 30600

void verify_crl(struct verify *verify, const char *path, const char *file, const char *flag,
                const struct x509_list *anchors)
{
    struct x509_crl_shape shape;
    struct err err = ERR_INIT;
    bool strict = verify->version >= VERSION_3_6;

    if (x509_crl_look(path, anchors, &shape, &err) < 0) {
        verify_find(verify, "R1", true, file, flag,
                    "give a revocation list; etcd-pki crl writes one that every etcd reads", "%s",
                    err.text);
        return;
    }
    if (shape.leading_text)
        verify_find(verify, "R1", true, file, flag, "write it with etcd-pki crl",
                    "has text before the list: etcd refuses every client");
    else if (shape.count > 1)
        verify_find(verify, "R1", true, file, flag, "write it with etcd-pki crl",
                    "holds %zu lists: etcd 3.5 reads the first only, 3.6 refuses every client",
                    shape.count);
    else if (!shape.der || !shape.version2)
        verify_find(verify, "R1", strict, file, flag, "write it with etcd-pki crl",
                    "is %s: etcd 3.6 and later refuse every client with it",
                    !shape.der ? "PEM" : "of version 1");
    if (shape.next_update_s != 0 && shape.next_update_s < verify->at_s)
        verify_find(verify, "R3", false, file, flag, "write it again: etcd-pki crl",
                    "should have been replaced by now; etcd does not look, others do");
    if (anchors->count != 0 && !shape.signed_here)
        verify_find(verify, "R3", false, file, flag, "write it with the CA of the trust file",
                    "is signed by no CA of the trust file; etcd does not look, others do");
    if (shape.signed_here && !shape.signer_may)
        verify_find(verify, "R3", false, file, flag,
                    "none for etcd; for openssl make the CA with --crl-sign",
                    "is signed by a CA without the usage CRL Sign, as kubeadm's; etcd does not "
                    "look, openssl verify -crl_check refuses it");
}

static bool has(const char *urls, const char *scheme)
{
    return urls != NULL && strstr(urls, scheme) != NULL;
}

static void judge_pairs(struct verify *verify)
{
    bool half = (verify->cert_file != NULL) != (verify->key_file != NULL) ||
                (verify->peer_cert_file != NULL) != (verify->peer_key_file != NULL) ||
                (verify->client_cert_file != NULL) != (verify->client_key_file != NULL) ||
                (verify->peer_client_cert_file != NULL) != (verify->peer_client_key_file != NULL);

    if (half)
        verify_find(verify, "F1", true, NULL, "--cert-file, --key-file", "give both",
                    "a certificate without a key, or a key without a certificate");
    if ((has(verify->listen_client_urls, "https://") ||
         has(verify->advertise_client_urls, "https://")) &&
        verify->cert_file == NULL && !verify->auto_tls)
        verify_find(verify, "F1", true, NULL, "--cert-file", "give --cert-file and --key-file",
                    "an https client URL without a certificate: the member does not start");
    if ((has(verify->peer_urls, "https://") || has(verify->listen_peer_urls, "https://")) &&
        verify->peer_cert_file == NULL && !verify->peer_auto_tls)
        verify_find(verify, "F1", true, NULL, "--peer-cert-file",
                    "give --peer-cert-file and --peer-key-file",
                    "an https peer URL without a certificate: the member does not start");
    if ((verify->cert_file != NULL && has(verify->listen_client_urls, "http://")) ||
        (verify->peer_cert_file != NULL && has(verify->listen_peer_urls, "http://")))
        verify_find(verify, "F2", false, NULL,
                    has(verify->listen_client_urls, "http://") ? "--listen-client-urls"
                                                               : "--listen-peer-urls",
                    "use https:// URLs", "on http URLs certificates are ignored");
    if ((verify->cert_file != NULL && verify->auto_tls) ||
        (verify->peer_cert_file != NULL && verify->peer_auto_tls))
        verify_find(verify, "F2", false, NULL, verify->auto_tls ? "--auto-tls" : "--peer-auto-tls",
                    "give one of the two", "a pair is given, so automatic TLS is ignored");
}

/* Suites that work with the key in the serving certificate, where TLS 1.3 does not help. */
static void judge_suite_keys(struct verify *verify, const struct texts *suites)
{
    struct x509_list chain = {0};
    struct x509_info info;
    struct err err = ERR_INIT;
    bool fits = false, rsa;
    char *path = verify->cert_file != NULL && suites->count != 0
                     ? verify_path(verify, verify->cert_file)
                     : NULL;
    int rc = path != NULL ? x509_list_read(path, false, &chain, &err) : -1;

    free(path);
    if (rc < 0)
        return;
    x509_describe(chain.items[0], &info);
    rsa = strncmp(info.key, "RSA-", 4) == 0;
    for (size_t i = 0; i < suites->count; i++)
        fits = fits || strncmp(suites->items[i], "TLS_AES_", 8) == 0 ||
               (strstr(suites->items[i], "_ECDSA_") == NULL) == rsa;
    if (!fits)
        verify_find(verify, "F1", true, verify->cert_file, "--cipher-suites",
                    rsa ? "add suites with RSA in their names" : "add suites with ECDSA",
                    "none of the suites fits a key of kind %s: TLS 1.2 clients cannot connect",
                    info.key);
    x509_info_free(&info);
    x509_list_free(&chain);
}

static void judge_versions(struct verify *verify)
{
    static const char *const protocols[] = {"h2"};
    struct texts suites = {0};
    struct err err = ERR_INIT;
    struct tls_config config = {.role = TLS_SERVER,
                                .alpn = {protocols, ARRAY_LEN(protocols)},
                                .cert_file = verify->cert_file,
                                .key_file = verify->key_file,
                                .min_version = verify->tls_min,
                                .max_version = verify->tls_max};

    if (verify->suites != NULL)
        texts_add_list(&suites, verify->suites);
    config.cipher_suites = (struct tls_list){(const char *const *)suites.items, suites.count};
    if ((verify->tls_min != NULL || verify->tls_max != NULL || suites.count != 0) &&
        verify->cert_file != NULL && verify->key_file != NULL &&
        tls_config_check(&config, &err) < 0)
        verify_find(verify, "F1", true, NULL,
                    suites.count != 0 ? "--cipher-suites" : "--tls-min-version",
                    "TLS1.2 or TLS1.3; Go's names of suites, one of them with AES_128_GCM_SHA256",
                    "%s: the member does not start", err.text);
    judge_suite_keys(verify, &suites);
    texts_free(&suites);
}

static bool share_a_ca(const struct verify *verify)
{
    struct x509_list a = {0}, b = {0};
    struct err err = ERR_INIT;
    bool share = false;
    char *client, *peer;

    if (verify->ca_file == NULL || verify->peer_ca_file == NULL)
        return false;
    client = verify_path(verify, verify->ca_file);
    peer = verify_path(verify, verify->peer_ca_file);
    if (x509_list_read(client, true, &a, &err) == 0 && x509_list_read(peer, true, &b, &err) == 0)
        for (size_t i = 0; i < a.count; i++)
            for (size_t k = 0; k < b.count; k++)
                share = share || x509_certs_equal(a.items[i], b.items[k]);
    x509_list_free(&a);
    x509_list_free(&b);
    free(client);
    free(peer);
    return share;
}

static void judge_lists(struct verify *verify)
{
    int v = verify->version;
    bool unfixed = v < 30532 || (v >= 30600 && v < 30613) || v == 30700;

    if (verify->peer_allowed_cn != NULL && verify->peer_allowed_hostname != NULL)
        verify_find(verify, "P1", true, NULL, "--peer-cert-allowed-cn", "give one of the two lists",
                    "--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other");
    if (!verify->by_directory && verify->peer_allowed_cn == NULL &&
        verify->peer_allowed_hostname == NULL && share_a_ca(verify))
        verify_find(verify, "P2", false, verify->peer_ca_file, "--peer-trusted-ca-file",
                    "sign peers with a CA of their own, or set --peer-cert-allowed-hostname",
                    "peers and clients have the same CA and there is no allow list, so any client "
                    "certificate may speak on the peer port");
    if (verify->allowed_hostname != NULL && verify->gateway)
        verify_find(verify, "U4", false, NULL, "--client-cert-allowed-hostname",
                    "use --enable-grpc-gateway=false, or allow by other means",
                    "etcd's gateway (HTTP and JSON) fails for everybody with this list");
    if (verify->crl_file != NULL && verify->http_urls != NULL && unfixed)
        verify_find(verify, "R4", true, verify->crl_file, "--listen-client-http-urls",
                    "use etcd 3.5.32, 3.6.13, 3.7.1 or later, or one URL for both",
                    "with a listener of its own for HTTP, gRPC clients are not held against the "
                    "list");
    if (verify->config_file != NULL && (verify->crl_file != NULL || verify->peer_crl_file != NULL))
        verify_find(verify, "R5", true, verify->config_file, "--config-file",
                    "drop --config-file: there is no key for revocation lists in it",
                    "with --config-file the revocation list is ignored like all flags");
}

void verify_flags(struct verify *verify)
{
    judge_pairs(verify);
    judge_versions(verify);
    if (verify->client_cert_auth && verify->ca_file == NULL)
        verify_find(verify, "T2", true, NULL, "--client-cert-auth", "give --trusted-ca-file",
                    "client certificates are judged by the system's CAs: nobody gets in");
    if (verify->ca_file != NULL && !verify->client_cert_auth)
        verify_find(verify, "T3", false, verify->ca_file, "--trusted-ca-file",
                    "add --client-cert-auth, so that it says what it does",
                    "client certificates are demanded although --client-cert-auth is not given");
    judge_lists(verify);
}
