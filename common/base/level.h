/* level.h - the etcd that the suite answers as, wherever etcd tells its own version.
 * Pure. Thread: any. */
#ifndef COMMON_BASE_LEVEL_H
#define COMMON_BASE_LEVEL_H

#define ETCD_LEVEL "3.5.30"
#define ETCD_API_VERSION "3.5" /* "API version: " of the tools */

#endif
