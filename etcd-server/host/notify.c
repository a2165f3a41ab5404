/* notify.c - see notify.h. A name that begins with '@' is an abstract socket. */
#include "etcd-server/host/notify.h"
#include "common/base/file.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

int notify_send(const char *state, struct err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length;
    int fd, rc = 0;

    if (name == NULL || name[0] == '\0')
        return 0;
    length = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address.sun_path)) {
        err_set(err, ERR_USAGE, "NOTIFY_SOCKET=%s is no path of a socket", name);
        return -1;
    }
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
        err_sys(err, errno, "tell systemd %s at %s", state, name);
        rc = -1;
    }
    file_close(&fd);
    return rc;
}
