package main

import (
	"fmt"
	"strconv"
	"sync"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/clientv3util"
	"go.etcd.io/etcd/clientv3/concurrency"
)

// txnTopic: every comparison, both branches, nested, and what is refused.
func txnTopic(t *topic) {
	c := t.client(t.one())
	ctx := t.ctx
	lease, err := c.Grant(ctx, 1000)
	t.must("grant", err)
	t.is("put a")(c.Put(ctx, "a", "m"))
	t.is("put a")(c.Put(ctx, "a", "m", clientv3.WithLease(lease.ID)))
	t.is("put p/1")(c.Put(ctx, "p/1", "same"))
	t.is("put p/2")(c.Put(ctx, "p/2", "same"))

	yes, no := clientv3.OpGet("a", clientv3.WithCountOnly()), clientv3.OpGet("none", clientv3.WithCountOnly())
	compare := func(what string, cmps ...clientv3.Cmp) {
		r, err := c.Txn(ctx).If(cmps...).Then(yes).Else(no).Commit()
		if err != nil {
			t.say("if %s: %s", what, t.show(err))
		} else {
			t.say("if %s: %t, count %d", what, r.Succeeded, r.Responses[0].GetResponseRange().Count)
		}
	}
	for _, sign := range []string{"=", "!=", "<", ">"} {
		for _, by := range []int64{-1, 0, 1} {
			compare(fmt.Sprintf("version %s %d", sign, 2+by), clientv3.Compare(clientv3.Version("a"), sign, 2+by))
			compare(fmt.Sprintf("created %s %d", sign, 2+by), clientv3.Compare(clientv3.CreateRevision("a"), sign, 2+by))
			compare(fmt.Sprintf("changed %s %d", sign, 3+by), clientv3.Compare(clientv3.ModRevision("a"), sign, 3+by))
			compare(fmt.Sprintf("lease %s its %+d", sign, by), clientv3.Compare(clientv3.LeaseValue("a"), sign, int64(lease.ID)+by))
		}
		for _, value := range []string{"l", "m", "n", ""} {
			compare(fmt.Sprintf("value %s %q", sign, value), clientv3.Compare(clientv3.Value("a"), sign, value))
			compare(fmt.Sprintf("value of none %s %q", sign, value), clientv3.Compare(clientv3.Value("none"), sign, value))
		}
		compare("version of none "+sign+" 0", clientv3.Compare(clientv3.Version("none"), sign, 0))
		compare("created of none "+sign+" 0", clientv3.Compare(clientv3.CreateRevision("none"), sign, 0))
		compare("all of p/ "+sign+" same", clientv3.Compare(clientv3.Value("p/"), sign, "same").WithPrefix())
		compare("from p/2 "+sign+" same", clientv3.Compare(clientv3.Value("p/2"), sign, "same").WithRange("\x00"))
		compare("all of none/ "+sign+" same", clientv3.Compare(clientv3.Value("none/"), sign, "same").WithPrefix())
	}
	compare("exists", clientv3util.KeyExists("a"))
	compare("is missing", clientv3util.KeyMissing("a"))
	compare("two of which one fails", clientv3util.KeyExists("a"), clientv3util.KeyExists("none"))
	compare("nothing")
	compare("no key", clientv3.Compare(clientv3.Version(""), "=", 0))

	t.is("empty")(c.Txn(ctx).Commit())
	t.is("all kinds")(c.Txn(ctx).Then(clientv3.OpPut("b", "1", clientv3.WithPrevKV()), clientv3.OpGet("b"),
		clientv3.OpDelete("p/1", clientv3.WithPrevKV()), clientv3.OpGet("p/", clientv3.WithPrefix())).Commit())
	t.is("a get before a put sees the old")(c.Txn(ctx).Then(clientv3.OpGet("b"), clientv3.OpPut("b", "2"), clientv3.OpGet("b")).Commit())
	t.is("gets only")(c.Txn(ctx).Then(clientv3.OpGet("b"), clientv3.OpGet("b", clientv3.WithRev(3))).Commit())
	t.is("a delete of nothing")(c.Txn(ctx).Then(clientv3.OpDelete("none")).Commit())
	t.is("delete and put of different keys")(c.Txn(ctx).Then(clientv3.OpDelete("b"), clientv3.OpPut("d", "1")).Commit())
	inner := clientv3.OpTxn([]clientv3.Cmp{clientv3util.KeyExists("d")}, []clientv3.Op{clientv3.OpPut("e", "1"), clientv3.OpGet("d")}, []clientv3.Op{clientv3.OpPut("e", "2")})
	t.is("nested")(c.Txn(ctx).If(clientv3util.KeyMissing("d")).Then(clientv3.OpPut("f", "1")).Else(inner, clientv3.OpPut("g", "1")).Commit())
	t.is("nested twice")(c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("h", "1")}, nil)}, nil)).Commit())
	t.is("the same key in both branches")(c.Txn(ctx).Then(clientv3.OpPut("i", "1")).Else(clientv3.OpPut("i", "2")).Commit())

	t.is("a key twice")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpPut("i", "2")).Commit())
	t.is("a key put and deleted")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpDelete("i")).Commit())
	t.is("a key put in a deleted range")(c.Txn(ctx).Then(clientv3.OpDelete("i", clientv3.WithPrefix()), clientv3.OpPut("i/1", "1")).Commit())
	t.is("a key deleted twice")(c.Txn(ctx).Then(clientv3.OpDelete("i"), clientv3.OpDelete("i")).Commit())
	t.is("a key twice, nested")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("i", "2")}, nil)).Commit())
	t.is("a key in two nested")(c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("i", "1")}, nil), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("i", "2")}, nil)).Commit())
	t.is("no key")(c.Txn(ctx).Then(clientv3.OpPut("", "1")).Commit())
	t.is("no key in the other branch")(c.Txn(ctx).Then(clientv3.OpPut("i", "1")).Else(clientv3.OpPut("", "1")).Commit())
	t.is("no such lease")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpPut("j", "1", clientv3.WithLease(77))).Commit())
	t.is("nothing was put")(c.Get(ctx, "j"))
	t.is("value kept, no key")(c.Txn(ctx).Then(clientv3.OpPut("none", "", clientv3.WithIgnoreValue())).Commit())
	t.is("the future")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpGet("a", clientv3.WithRev(1000))).Commit())
	many := func(n int) (ops []clientv3.Op) {
		for i := 0; i < n; i++ {
			ops = append(ops, clientv3.OpPut("many/"+strconv.Itoa(i), "1"))
		}
		return ops
	}
	for _, n := range []int{128, 129} {
		r, err := c.Txn(ctx).Then(many(n)...).Commit()
		if err != nil {
			t.say("%d operations: %s", n, t.show(err))
		} else {
			t.say("%d operations: %d answers", n, len(r.Responses))
		}
	}
	t.is("too many, nested")(c.Txn(ctx).Then(clientv3.OpTxn(nil, many(129), nil)).Commit())
	_, err = c.Compact(ctx, 5)
	t.must("compact", err)
	t.is("the past")(c.Txn(ctx).Then(clientv3.OpPut("i", "1"), clientv3.OpGet("a", clientv3.WithRev(2))).Commit())
	t.is("in the end")(c.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithRange("m")))
}

// stmTopic: software transactions, at every isolation, that run into each other.
func stmTopic(t *topic) {
	c := t.client(t.one())
	ctx := t.ctx
	levels := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable, concurrency.RepeatableReads, concurrency.ReadCommitted}
	for i, level := range levels[:3] {
		prefix := fmt.Sprintf("account/%d/", i)
		for j := 0; j < 4; j++ {
			_, err := c.Put(ctx, prefix+strconv.Itoa(j), "100")
			t.must("put", err)
		}
		var wait sync.WaitGroup
		for w := 0; w < 4; w++ {
			wait.Add(1)
			go func(w int) {
				defer wait.Done()
				for n := 0; n < 10; n++ {
					from, to := prefix+strconv.Itoa((w+n)%4), prefix+strconv.Itoa((w+n*2+1)%4)
					if from == to {
						continue
					}
					_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
						a, _ := strconv.Atoi(s.Get(from))
						b, _ := strconv.Atoi(s.Get(to))
						s.Put(from, strconv.Itoa(a-1))
						s.Put(to, strconv.Itoa(b+1))
						return nil
					}, concurrency.WithIsolation(level), concurrency.WithPrefetch(from), concurrency.WithAbortContext(ctx))
					if err != nil {
						t.say("FAILED: stm %d: %s", i, t.show(err))
					}
				}
			}(w)
		}
		wait.Wait()
		r, err := c.Get(ctx, prefix, clientv3.WithPrefix())
		t.must("get", err)
		total := 0
		for _, kv := range r.Kvs {
			n, _ := strconv.Atoi(string(kv.Value))
			total += n
		}
		t.say("isolation %d: %d accounts with %d", i, len(r.Kvs), total)
	}
	r, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
		s.Put("fresh", s.Get("none")+"x")
		s.Del("account/0/0")
		return nil
	}, concurrency.WithIsolation(levels[3]))
	t.must("stm", err)
	t.say("put and delete: %t, %d answers", r.Succeeded, len(r.Responses))
	g, err := c.Get(ctx, "fresh")
	t.must("get", err)
	t.say("fresh is %s", g.Kvs[0].Value)
	_, err = concurrency.NewSTM(c, func(s concurrency.STM) error { return fmt.Errorf("no") })
	t.say("given up: %v", err)
	// a read that another changes before the commit is read again
	tries := 0
	_, err = concurrency.NewSTM(c, func(s concurrency.STM) error {
		tries++
		seen := s.Get("raced")
		if tries == 1 {
			if _, err := c.Put(ctx, "raced", "other"); err != nil {
				return err
			}
		}
		s.Put("raced", seen+"+mine")
		return nil
	})
	t.must("stm", err)
	g, err = c.Get(ctx, "raced")
	t.must("get", err)
	t.say("raced: %d tries, %s, version %d", tries, g.Kvs[0].Value, g.Kvs[0].Version)
}
