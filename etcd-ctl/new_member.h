/*
 * new_member.h (edge) - what adding a member will mean, said on standard error before it is done:
 * what becomes of the quorum, and what about its URLs cannot be right. Notes only: the cluster
 * decides. Thread: main.
 */
#ifndef ETCD_CTL_NEW_MEMBER_H
#define ETCD_CTL_NEW_MEMBER_H

#include "etcd-ctl/ctl.h"

/* `present`: the members there are; all borrowed. */
void new_member_notes(const char *name, char *const *urls, size_t url_count, bool learner,
                      const Etcdserverpb__MemberListResponse *present);

#endif
