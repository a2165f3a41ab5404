"""differential_wanted.py - what differs from etcd on purpose: differential.py counts it and goes on.

A rule looks at a step, at both answers (theirs, ours: as differential.py compares them) and at the pair of servers.
"""
import json


def parser_text(step, theirs, ours, _):
    """Both refuse with code 3, one of them in a JSON parser's words."""
    words = [message_of(theirs), message_of(ours)]
    return (step["do"] in ("call", "http") and theirs.get("status") == ours.get("status") == 400 and all(words) and words[0] != words[1]
            and not any(word.startswith("etcdserver: ") for word in words)
            and alike_but(theirs, ours, "message"))


def message_of(answer):
    return answer["body"].get("message", "") if isinstance(answer.get("body"), dict) else ""


def alike_but(theirs, ours, name):
    return without(theirs, name) == without(ours, name)


def without(answer, name):
    return {**answer, "body": {k: v for k, v in answer["body"].items() if k != name}} if isinstance(answer.get("body"), dict) else answer


def refused_by_go(step, theirs, ours, _):
    """What Go's HTTP server refuses or answers before etcd sees it, without the fields that etcd adds."""
    return step["do"] == "http" and ("%zz" in step["path"] or theirs["status"] == ours["status"]
            and (step["path"] == "*" or ("access-control-allow-origin" not in theirs["headers"] and "access-control-allow-origin" in ours["headers"])))


def with_nul(step, theirs, ours, _):
    return step["do"] == "call" and "a text with a NUL character" in str(message_of(ours))


def unknown_host(step, theirs, ours, _):
    return step["do"] == "http" and theirs["status"] == ours["status"] == 421


def unlisted_method(step, theirs, ours, _):
    return step["do"] == "http" and step["method"] in ("post", "FOO") and ours["status"] == 400 and theirs["status"] in (301, 404, 405, 421, 501)


def watch_to_the_end(step, theirs, ours, _):
    """etcd looks at the first key only when the range has no end."""
    return (step["do"].startswith("watch") and '"range_end": "AA=="' in json.dumps(step)
            and json.dumps(ours).count("PermissionDenied") > json.dumps(theirs).count("PermissionDenied"))


def old_token_waits(step, theirs, ours, _):
    return (step.get("rpc", "").split(".")[0] in ("Lock", "Election") and "context deadline" in json.dumps(theirs)
            and message_of(ours) == "etcdserver: revision of auth store is old")


def given_up(step, theirs, ours, pair):
    """With authentication etcd may not delete the key of who gave up: it asks without the token."""
    return pair.gave_up


def words_of_unmarshalling(step, theirs, ours, _):
    return (step["do"] == "bytes" and theirs["code"] == ours["code"] == 13
            and all(message_of(one).startswith("grpc: error unmarshalling request: ") for one in (theirs, ours)))


def unknown_order(step, theirs, ours, _):
    return message_of(ours) == "etcdserver: invalid sort option" and "spelling" in step


def number_and_more(step, theirs, ours, _):
    """A string in place of a number: etcd's JSON parser stops at the first character that may follow a number."""
    return "spelling" in step and ours.get("status") == 400 and " is not a number" in message_of(ours)


def words_of_a_deadline(step, theirs, ours, _):
    return theirs.get("status") == ours.get("status") == 504 and alike_but(theirs, ours, "message")


def handler_that_panics(step, theirs, ours, _):
    return step["do"] == "http" and step["path"] == "/leases/internal" and theirs["status"] == "RemoteDisconnected"


def ghosts(step, theirs, ours, pair):
    """etcd keeps a watch that a compaction has ended: its id is taken, and it lets no progress be told."""
    return step["do"].startswith("watch") and step.get("slot") in pair.ghosts


def foreign_leases(step, theirs, ours, pair):
    """Keys hold ids of leases that each server chose for itself, so that the stores are not alike."""
    return (step.get("rpc") == "Maintenance.HashKV" or step.get("path") == "/members/hashkv") and pair.own_leases and alike_but(theirs, ours, "hash")


def rights_of_maintenance(step, theirs, ours, _):
    words = message_of(theirs).replace("user not found", "user name not found")
    return (step.get("rpc") in ("Maintenance.HashKV", "Maintenance.Defragment") and words.startswith("auth: ")
            and message_of(ours) == "etcdserver: " + words[6:])


def etcd_ends(step, theirs, ours, pair):
    return not pair.sides[0].server.alive() and pair.sides[1].server.alive()


def permissions_kept_twice(step, theirs, ours, _):
    """A permission that replaced one in our role and stands beside it in etcd's."""
    if step.get("rpc") != "Auth.RoleGet" or "perm" not in theirs.get("body", {}) or "perm" not in ours.get("body", {}):
        return False
    range_of = lambda one: (one.get("key"), one.get("range_end"))
    kept = [range_of(one) for one in theirs["body"]["perm"]]
    return len(kept) > len(set(kept)) and sorted(set(kept), key=str) == sorted(map(range_of, ours["body"]["perm"]), key=str)


def hash_of_nothing(step, theirs, ours, pair):
    """etcd keeps the hash that a compaction at revision 0 made, and takes it for that of the newest revision."""
    if step["do"] == "http":
        return step["path"] == "/members/hashkv" and pair.compacted_at_nothing and '"revision":' not in step["body"]
    return (step.get("rpc") == "Maintenance.HashKV" and pair.compacted_at_nothing
            and ("spelling" in step or int(pair.sides[0].fill(step["body"]).get("revision", 0)) == 0))


# Not asked, so that runs can go on behind it: a MemberUpdate of a member that is there with texts that are no URLs
# (etcd stores them, and other members end at them; we refuse them as MemberAdd does), alarms of two kinds at once
# (the last one raised counts in etcd), an unknown sort_target (etcd ends), X-HTTP-Method-Override (of forms), Resign
# and Proclaim without a lease (etcd makes one that nobody wants), unknown fields that nest deeper than 392 levels
# (400), and more than twelve keys in an order in which some are equal (that of Go's sort).
DELIBERATE = [
    ("HTTP below etcd", "our own words, and the fields of CORS with them", refused_by_go),
    ("unknown hosts", "the first line is etcd's, the help our own", unknown_host),
    ("unlisted methods", "a method that nobody registered is a malformed request: 400", unlisted_method),
    ("texts with NUL", "names of users, roles and URLs are texts: one with a NUL is refused", with_nul),
    ("watches to the end", "READ is needed on the whole range (api.md 16)", watch_to_the_end),
    ("locks with an old token", "refused at once; etcd tries again until the deadline", old_token_waits),
    ("keys of locks given up", "deleted at once, with authentication as well (README)", given_up),
    ("words of a protobuf parser", "ours say the size and the type", words_of_unmarshalling),
    ("unknown sort_order", "refused with `invalid sort option`, as in etcd 3.6 (api.md 16)", unknown_order),
    ("numbers with more behind", "\"1,000\" and \"1 2\" are no numbers: 400; for etcd they are 1", number_and_more),
    ("words of a deadline", "which of its clocks was first", words_of_a_deadline),
    ("peers that ask nothing", "/leases/internal without a body: 400; etcd's handler panics", handler_that_panics),
    ("watches that compaction ended", "they are over, for progress and ids as well", ghosts),
    ("HashKV of other ids", "leases that the servers named are in the hash", foreign_leases),
    ("rights of maintenance calls", "`etcdserver: ...` and its code, as in etcd 3.6 (api.md 16)", rights_of_maintenance),
    ("etcd ends", "a put behind a deletion to the end in one txn (a quirk of its checks) makes etcd panic, or ruins its index; we go on", etcd_ends),
    ("permissions granted twice", "granting one again replaces it; etcd keeps both when another begins at the same key (README)", permissions_kept_twice),
    ("HashKV after a compaction at 0", "HashKV of revision 0 is that of the newest revision, as documented", hash_of_nothing),
    ("words of a JSON parser", "they differ between builds of etcd; ours say where and what (api.md 12.3)", parser_text),
]


PARTING = {"etcd ends", "permissions granted twice", "keys of locks given up", "watches to the end", "numbers with more behind",
           "watches that compaction ended"}  # behind these the two are not alike


def wanted(step, theirs, ours, pair):
    """The name of the rule that a difference falls under, or None."""
    return next((name for name, _, fits in DELIBERATE if fits(step, theirs, ours, pair)), None)
