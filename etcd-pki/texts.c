/* texts.c - a growing list of texts. */
#include "etcd-pki/pki.h"

void texts_add(struct texts *texts, const char *text)
{
    texts->items = xrealloc(texts->items, (texts->count + 1) * sizeof *texts->items);
    texts->items[texts->count++] = xstrdup(text);
}

void texts_add_list(struct texts *texts, const char *list)
{
    char *copy = xstrdup(list), *save = NULL;

    for (char *at = strtok_r(copy, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        size_t bytes;

        while (*at == ' ')
            at++;
        for (bytes = strlen(at); bytes != 0 && at[bytes - 1] == ' '; bytes--)
            at[bytes - 1] = '\0';
        if (*at != '\0')
            texts_add(texts, at);
    }
    free(copy);
}

void texts_free(struct texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (struct texts){0};
}
