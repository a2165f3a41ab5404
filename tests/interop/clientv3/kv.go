package main

import (
	"fmt"
	"strings"

	"go.etcd.io/etcd/clientv3"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
)

// kvTopic: every option of put, get, delete and compaction, and what they refuse.
func kvTopic(t *topic) {
	c := t.client(t.one())
	ctx := t.ctx
	t.is("get of nothing")(c.Get(ctx, "a"))
	t.is("put a")(c.Put(ctx, "a", "1"))
	t.is("put a again, previous")(c.Put(ctx, "a", "2", clientv3.WithPrevKV()))
	t.is("put with previous, none")(c.Put(ctx, "b", "", clientv3.WithPrevKV()))
	t.is("put of nothing")(c.Put(ctx, "", "x"))
	t.is("put, bytes")(c.Put(ctx, "bin", "\x00\xff\n"))
	lease, err := c.Grant(ctx, 1000)
	t.must("grant", err)
	t.is("put with a lease")(c.Put(ctx, "leased", "1", clientv3.WithLease(lease.ID)))
	t.is("put, lease kept")(c.Put(ctx, "leased", "2", clientv3.WithIgnoreLease()))
	t.is("put, value kept, lease gone")(c.Put(ctx, "leased", "", clientv3.WithIgnoreValue()))
	t.is("get leased")(c.Get(ctx, "leased"))
	t.is("put, value kept, no key")(c.Put(ctx, "missing", "", clientv3.WithIgnoreValue()))
	t.is("put, lease kept, no key")(c.Put(ctx, "missing", "x", clientv3.WithIgnoreLease()))
	t.is("put, no such lease")(c.Put(ctx, "x", "x", clientv3.WithLease(77)))
	raw := clientv3.RetryKVClient(c)
	t.is("value kept and given")(raw.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("x"), IgnoreValue: true}))
	t.is("lease kept and given")(raw.Put(ctx, &pb.PutRequest{Key: []byte("a"), Lease: 5, IgnoreLease: true}))
	t.is("get of nothing named")(raw.Range(ctx, &pb.RangeRequest{}))
	t.is("delete of nothing named")(raw.DeleteRange(ctx, &pb.DeleteRangeRequest{}))

	for i, value := range []string{"5", "3", "4", "1", "2"} {
		t.is("put k/")(c.Put(ctx, fmt.Sprintf("k/%d", i), value))
	}
	t.is("touch k/1")(c.Put(ctx, "k/1", "3"))
	get := func(what, key string, opts ...clientv3.OpOption) { t.is("get " + what)(c.Get(ctx, key, opts...)) }
	get("a prefix", "k/", clientv3.WithPrefix())
	get("a range", "k/1", clientv3.WithRange("k/3"))
	get("an empty range", "k/3", clientv3.WithRange("k/1"))
	get("from a key", "k/3", clientv3.WithFromKey())
	get("everything", "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	get("everything from", "", clientv3.WithFromKey(), clientv3.WithCountOnly())
	get("keys only", "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	get("the count only", "k/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	get("count with limit", "k/", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithLimit(2))
	get("two", "k/", clientv3.WithPrefix(), clientv3.WithLimit(2))
	get("serializable", "k/0", clientv3.WithSerializable())
	get("the first created", "k/", clientv3.WithFirstCreate()...)
	get("the last created", "k/", clientv3.WithLastCreate()...)
	get("the first changed", "k/", clientv3.WithFirstRev()...)
	get("the last changed", "k/", clientv3.WithLastRev()...)
	get("the first key", "k/", clientv3.WithFirstKey()...)
	get("the last key", "k/", clientv3.WithLastKey()...)
	targets := []clientv3.SortTarget{clientv3.SortByKey, clientv3.SortByVersion, clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue}
	for i, target := range targets {
		for j, order := range []clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend, clientv3.SortDescend} {
			get(fmt.Sprintf("sort %d %d", i, j), "k/", clientv3.WithPrefix(), clientv3.WithSort(target, order), clientv3.WithLimit(3), clientv3.WithKeysOnly())
		}
	}
	get("changed since 10", "k/", clientv3.WithPrefix(), clientv3.WithMinModRev(10))
	get("changed until 9", "k/", clientv3.WithPrefix(), clientv3.WithMaxModRev(9))
	get("created since 10", "k/", clientv3.WithPrefix(), clientv3.WithMinCreateRev(10))
	get("created until 9", "k/", clientv3.WithPrefix(), clientv3.WithMaxCreateRev(9), clientv3.WithLimit(1))
	get("a as it was at 2", "a", clientv3.WithRev(2))
	get("a as it was at 1", "a", clientv3.WithRev(1))
	get("the prefix as it was at 10", "k/", clientv3.WithPrefix(), clientv3.WithRev(10))
	get("the future", "a", clientv3.WithRev(1000))
	get("a negative revision", "a", clientv3.WithRev(-1))

	t.is("delete one, previous")(c.Delete(ctx, "k/0", clientv3.WithPrevKV()))
	t.is("delete it again, previous")(c.Delete(ctx, "k/0", clientv3.WithPrevKV()))
	t.is("delete a range")(c.Delete(ctx, "k/1", clientv3.WithRange("k/3")))
	t.is("delete a prefix, previous")(c.Delete(ctx, "k/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	t.is("delete from a key")(c.Delete(ctx, "l", clientv3.WithFromKey()))
	t.is("a deleted key is made again")(c.Put(ctx, "k/0", "again"))
	get("it", "k/0")

	t.is("do get")(c.Do(ctx, clientv3.OpGet("a")))
	t.is("do put")(c.Do(ctx, clientv3.OpPut("a", "3", clientv3.WithPrevKV())))
	t.is("do delete")(c.Do(ctx, clientv3.OpDelete("a")))
	t.is("do txn")(c.Do(ctx, clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("a", "4")}, nil)))

	t.is("compact")(c.Compact(ctx, 10))
	t.is("compact, physically")(c.Compact(ctx, 12, clientv3.WithCompactPhysical()))
	t.is("compact again")(c.Compact(ctx, 12))
	t.is("compact before")(c.Compact(ctx, 3))
	t.is("compact the future")(c.Compact(ctx, 1000))
	t.is("compact 0")(c.Compact(ctx, 0))
	get("the past", "a", clientv3.WithRev(11))
	get("the edge of the past", "k/", clientv3.WithPrefix(), clientv3.WithRev(12), clientv3.WithCountOnly())
}

// pagesTopic: many keys, page by page; ranges within an older revision; large values.
func pagesTopic(t *topic) {
	c := t.client(t.one())
	ctx := t.ctx
	for i := 0; i < 1000; i += 100 {
		var ops []clientv3.Op
		for j := i; j < i+100; j++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("page/%04d", j), strings.Repeat("v", j%50)))
		}
		r, err := c.Txn(ctx).Then(ops...).Commit()
		t.must("puts", err)
		t.say("%d puts: @%d", len(r.Responses), r.Header.Revision)
	}
	walk := func(what string, limit int64, rev int64, opts ...clientv3.OpOption) {
		key, pages, keys, last, sum := "page/", 0, 0, "", 0
		for {
			all := append([]clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd("page/")), clientv3.WithLimit(limit), clientv3.WithRev(rev)}, opts...)
			r, err := c.Get(ctx, key, all...)
			t.must("page", err)
			if pages == 0 {
				t.say("%s: the first of %d keys: %d, more %t", what, r.Count, len(r.Kvs), r.More)
			}
			pages++
			for _, kv := range r.Kvs {
				if string(kv.Key) <= last {
					t.fail("%s: %s comes after %s", what, kv.Key, last)
				}
				last = string(kv.Key)
				keys++
				sum += len(kv.Value)
			}
			if !r.More {
				break
			}
			key = last + "\x00"
		}
		t.say("%s: %d pages, %d keys, %d bytes, the last %s", what, pages, keys, sum, last)
	}
	walk("pages of 64", 64, 0)
	walk("pages of 1", 1, 3)
	walk("one page", 1000, 0)
	walk("one page and more", 1001, 0)
	walk("keys only", 300, 0, clientv3.WithKeysOnly())
	t.is("delete the half")(c.Delete(ctx, "page/0500", clientv3.WithRange("page/1")))
	walk("after it", 64, 0)
	walk("before it", 64, 11)
	large := strings.Repeat("x", 1<<20)
	for i := 0; i < 8; i++ {
		t.is("a large value")(c.Put(ctx, fmt.Sprintf("large/%d", i), large))
	}
	r, err := c.Get(ctx, "large/", clientv3.WithPrefix())
	t.must("large", err)
	for _, kv := range r.Kvs {
		t.say("%s whole: %t", kv.Key, string(kv.Value) == large)
	}
}
