/* settings.c - what every verb asks of the command line: which directory, which format; and how it
 * says what went wrong. */
#include "etcd-pki/pki.h"

#include <stdio.h>
#include <unistd.h>

int say(const struct err *err)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "etcd-pki: %s\n", err->text);
    return err->code == ERR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

void say_no_client_auth(const char *name, bool peer)
{
    if (peer)
        (void)fprintf(stderr,
                      "etcd-pki: %s: without clientAuth the other members refuse it when this one "
                      "dials them; give etcd --peer-client-cert-file then\n",
                      name);
    else
        (void)fprintf(stderr,
                      "etcd-pki: %s: without clientAuth etcd's gateway (HTTP and JSON) fails with "
                      "\"bad certificate\" when client certificates are demanded; give etcd "
                      "--client-cert-file then\n",
                      name);
}

static const char *default_dir(const struct settings *settings)
{
    const char *given = getenv("ETCD_PKI_DIR");

    if (settings->dir != NULL)
        return settings->dir;
    return given != NULL && given[0] != '\0' ? given : NULL;
}

const char *writing_dir(const struct settings *settings)
{
    const char *dir = default_dir(settings);

    return dir != NULL ? dir : "./pki";
}

const char *reading_dir(const struct settings *settings)
{
    const char *dir = default_dir(settings);

    if (dir != NULL)
        return dir;
    return access("./pki", F_OK) == 0 ? "./pki" : "/etc/kubernetes/pki";
}

bool wants_json(const struct settings *settings, struct err *err, bool *bad)
{
    *bad = settings->output != NULL && strcmp(settings->output, "json") != 0 &&
           strcmp(settings->output, "text") != 0;
    if (*bad)
        err_set(err, ERR_USAGE, "-o %.60s: text or json", settings->output);
    return !*bad && settings->output != NULL && strcmp(settings->output, "json") == 0;
}
