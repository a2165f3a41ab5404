/*
 * answer.h - what the body of a gateway's answer says when it is no message of its type: refusals,
 * and the wrapping of a stream's lines. Pure; thread: any.
 */
#ifndef COMMON_CLIENT_ANSWER_H
#define COMMON_CLIENT_ANSWER_H

#include "common/base/slice.h"
#include "common/client/client.h"

/*
 * {"error":TEXT,"code":N} or, in a stream, {"error":{"grpc_code":N,"message":TEXT}} into a refusal
 * with the row of errors.def of that text; anything else is told with its HTTP status.
 *
 * typed  the endpoint, as it was typed
 */
void answer_refusal(const char *typed, long status, struct slice body,
                    struct client_failure *failure, struct err *err);
/* What a user can do about a refusal; "" when there is nothing to say. */
void answer_hint(enum err_code code, struct client_failure *failure);
/* For an answer that is no message of its type: kind and hint. */
void answer_odd_hint(struct client_failure *failure);
/* The line of a stream without its {"result": in front; the same text when that is not there. */
struct slice answer_result(struct slice text);
/* Does the line of a stream say {"error": ...}? */
bool answer_is_stream_refusal(struct slice body);

#endif
