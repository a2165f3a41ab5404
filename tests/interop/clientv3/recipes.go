package main

import (
	"context"
	"fmt"
	"sort"
	"sync"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/clientv3/leasing"
	"go.etcd.io/etcd/clientv3/mirror"
	"go.etcd.io/etcd/clientv3/namespace"
	"go.etcd.io/etcd/clientv3/naming/endpoints"
	"go.etcd.io/etcd/clientv3/naming/resolver"
	"go.etcd.io/etcd/clientv3/ordering"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func (t *topic) session(c *clientv3.Client, ttl int) *concurrency.Session {
	s, err := concurrency.NewSession(c, concurrency.WithTTL(ttl), concurrency.WithContext(t.ctx))
	t.must("session", err)
	return s
}

// waiters waits until so many keys are below the prefix.
func (t *topic) waiters(c *clientv3.Client, prefix string, n int64) {
	t.until(fmt.Sprint(n, " waiters"), func() bool {
		r, err := c.Get(t.ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && r.Count == n
	})
}

// mutexTopic: one holder at a time, in order; a holder that dies; a waiter that gives up.
func mutexTopic(t *topic) {
	c := t.client(t.one())
	first, second := t.session(c, 60), t.session(c, 60)
	a, b := concurrency.NewMutex(first, "/lock"), concurrency.NewMutex(second, "/lock")
	t.is("a locks")("it has it", a.Lock(t.ctx))
	t.say("key is the session's: %t, revision %d", a.Key() == fmt.Sprintf("/lock/%x", first.Lease()), a.Header().Revision)
	owns := func(m *concurrency.Mutex) bool {
		r, err := c.Txn(t.ctx).If(m.IsOwner()).Commit()
		t.must("txn", err)
		return r.Succeeded
	}
	t.say("a owns it: %t", owns(a))
	got := make(chan error, 1)
	go func() { got <- b.Lock(t.ctx) }()
	t.waiters(c, "/lock/", 2)
	t.say("b waits: %t", len(got) == 0)
	t.is("a unlocks")("done", a.Unlock(t.ctx))
	t.is("b has it")("now", <-got)
	t.say("b owns it: %t, a: %t", owns(b), owns(a))

	ctx, cancel := context.WithCancel(t.ctx)
	go func() { got <- a.Lock(ctx) }()
	t.waiters(c, "/lock/", 2)
	cancel()
	t.is("a gives up")("?", <-got)
	t.waiters(c, "/lock/", 1)
	short := t.session(c, 1)
	dying := concurrency.NewMutex(short, "/lock2")
	t.is("one that will die locks")("it has it", dying.Lock(t.ctx))
	short.Orphan()
	heir := concurrency.NewMutex(second, "/lock2")
	t.is("its heir")("has it", heir.Lock(t.ctx))
	t.is("unlock")("done", heir.Unlock(t.ctx))

	var wait sync.WaitGroup
	var inside, total, most int
	var mu sync.Mutex
	for i := 0; i < 8; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			s := t.session(c, 60)
			l := concurrency.NewLocker(s, "/crowd")
			for n := 0; n < 5; n++ {
				l.Lock()
				mu.Lock()
				inside++
				total++
				if inside > most {
					most = inside
				}
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				l.Unlock()
			}
		}()
	}
	wait.Wait()
	t.say("crowd: %d times, at most %d inside", total, most)
}

// electionTopic: campaigns, proclamations, observers, resignations, leaders that die.
func electionTopic(t *topic) {
	c := t.client(t.one())
	first, second := t.session(c, 60), t.session(c, 60)
	a, b := concurrency.NewElection(first, "/elect"), concurrency.NewElection(second, "/elect")
	_, err := a.Leader(t.ctx)
	t.say("nobody leads: %v", err)
	seen := concurrency.NewElection(second, "/elect").Observe(t.ctx)
	observe := func(what string) {
		select {
		case r := <-seen:
			t.say("%s: %s", what, r.Kvs[0].Value)
		case <-t.ctx.Done():
			t.fail("%s: nothing is observed", what)
		}
	}
	t.is("a campaigns")("it leads", a.Campaign(t.ctx, "a"))
	observe("observed")
	won := make(chan error, 1)
	go func() { won <- b.Campaign(t.ctx, "b") }()
	t.waiters(c, "/elect/", 2)
	r, err := b.Leader(t.ctx)
	t.must("leader", err)
	t.say("leader: %s, key is a's: %t, revision %d", r.Kvs[0].Value, string(r.Kvs[0].Key) == a.Key(), a.Rev())
	t.is("a proclaims")("done", a.Proclaim(t.ctx, "a2"))
	observe("observed")
	t.is("a resigns")("done", a.Resign(t.ctx))
	t.is("b leads")("now", <-won)
	observe("observed")
	t.is("a proclaims, no leader")("done", a.Proclaim(t.ctx, "a3"))
	resumed := concurrency.ResumeElection(second, "/elect", b.Key(), b.Rev())
	t.is("b, resumed, proclaims")("done", resumed.Proclaim(t.ctx, "b2"))
	observe("observed")
	t.is("b campaigns with another value")("still leads", b.Campaign(t.ctx, "b3"))
	observe("observed")
	third := t.session(c, 1)
	next := concurrency.NewElection(third, "/elect")
	go func() { won <- next.Campaign(t.ctx, "c") }()
	t.waiters(c, "/elect/", 2)
	ctx, cancel := context.WithCancel(t.ctx)
	gave := make(chan error, 1)
	go func() { gave <- a.Campaign(ctx, "a again") }()
	t.waiters(c, "/elect/", 3)
	cancel()
	t.is("a gives up")("?", <-gave)
	t.waiters(c, "/elect/", 2)
	t.must("close", second.Close())
	t.is("c leads after b's end")("now", <-won)
	go func() { won <- a.Campaign(t.ctx, "heir") }()
	t.waiters(c, "/elect/", 2)
	third.Orphan()
	t.is("a leads after c expired")("now", <-won)
	r, err = a.Leader(t.ctx)
	t.must("leader", err)
	t.say("leader: %s", r.Kvs[0].Value)
}

// namespaceTopic: keys below a prefix that the program does not see.
func namespaceTopic(t *topic) {
	m := t.one()
	plain, c := t.client(m), t.client(m)
	c.KV = namespace.NewKV(c.KV, "ns/")
	c.Watcher = namespace.NewWatcher(c.Watcher, "ns/")
	c.Lease = namespace.NewLease(c.Lease, "ns/")
	ctx := t.ctx
	w := c.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	t.next("created", w)
	t.is("put")(c.Put(ctx, "a", "1"))
	t.sees("watched", w)
	t.is("put outside")(plain.Put(ctx, "a", "outside"))
	t.is("get")(c.Get(ctx, "a"))
	t.is("get from outside")(plain.Get(ctx, "ns/a"))
	t.is("get all")(c.Get(ctx, "", clientv3.WithFromKey()))
	t.is("put of nothing")(c.Put(ctx, "", "1"))
	t.is("txn")(c.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1"), clientv3.Compare(clientv3.Version("z"), "=", 0).WithPrefix()).
		Then(clientv3.OpPut("b", "2", clientv3.WithPrevKV()), clientv3.OpGet("", clientv3.WithPrefix()), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete("a", clientv3.WithPrevKV())}, nil)).Commit())
	t.sees("watched", w)
	l, err := c.Grant(ctx, 100)
	t.must("grant", err)
	t.is("put with a lease")(c.Put(ctx, "leased", "1", clientv3.WithLease(l.ID)))
	t.sees("watched", w)
	t.is("its keys")(c.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys()))
	t.is("its keys from outside")(plain.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys()))
	t.is("delete all")(c.Delete(ctx, "a", clientv3.WithFromKey(), clientv3.WithPrevKV()))
	t.sees("watched", w)
	t.is("outside is untouched")(plain.Get(ctx, "", clientv3.WithPrefix()))
	s, err := concurrency.NewSession(c)
	t.must("session", err)
	mu := concurrency.NewMutex(s, "lock")
	t.is("lock")("done", mu.Lock(ctx))
	r, err := plain.Get(ctx, "ns/lock/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	t.must("get", err)
	t.say("the lock is below the prefix: %d", r.Count)
}

// orderingTopic: reads that never go back in time, on three members of which one is behind.
func orderingTopic(t *topic) {
	members := t.cluster(3)
	c := t.client(members...)
	kv := ordering.NewKV(c.KV, ordering.NewOrderViolationSwitchEndpointClosure(c))
	for i := 0; i < 20; i++ {
		t.put(c, "k", fmt.Sprint(i))
		r, err := kv.Get(t.ctx, "k")
		t.must("get", err)
		if string(r.Kvs[0].Value) != fmt.Sprint(i) {
			t.fail("read %s after %d", r.Kvs[0].Value, i)
		}
	}
	last := int64(0)
	for i := 0; i < 60; i++ {
		r, err := kv.Get(t.ctx, "k", clientv3.WithSerializable())
		if err == ordering.ErrNoGreaterRev {
			break
		}
		t.must("serializable get", err)
		if r.Header.Revision < last {
			t.fail("revision %d after %d", r.Header.Revision, last)
		}
		last = r.Header.Revision
	}
	t.say("serializable reads never go back; they reached %d", last)
	r, err := kv.Txn(t.ctx).If(clientv3.Compare(clientv3.Value("k"), "=", "19")).Then(clientv3.OpGet("k")).Commit()
	t.is("txn")(r, err)

	// A member that was stopped for a while has less, and its answer is not taken.
	behind := t.member("lonely")
	behind.args = append(behind.args, "--initial-cluster=lonely="+behind.peer)
	behind.run()
	behind.ready()
	direct := t.client(behind)
	kv = ordering.NewKV(direct.KV, func(op clientv3.Op, resp clientv3.OpResponse, prev int64) error {
		return fmt.Errorf("an answer of revision %d after %d", resp.Get().Header.Revision, prev)
	})
	t.put(direct, "k", "1")
	_, err = kv.Get(t.ctx, "k")
	t.must("get", err)
	behind.kill()
	t.must("forget", removeAll(behind.dir))
	behind.run()
	behind.ready()
	t.until("an answer from the past is refused", func() bool {
		_, err = kv.Get(t.ctx, "k", clientv3.WithSerializable())
		return err == nil || err.Error()[:2] == "an"
	})
	t.say("a server that has lost its data: %v", err)
}

// leasingTopic: keys that are read from memory for as long as nobody else writes them.
func leasingTopic(t *topic) {
	m := t.one()
	plain, one, two := t.client(m), t.client(m), t.client(m)
	ctx := t.ctx
	a, closeA, err := leasing.NewKV(one, "own/")
	t.must("leasing", err)
	t.closers = append(t.closers, closeA)
	b, closeB, err := leasing.NewKV(two, "own/")
	t.must("leasing", err)
	t.closers = append(t.closers, closeB)
	t.put(plain, "x", "1")
	get := func(what string, kv clientv3.KV, key string, opts ...clientv3.OpOption) {
		r, err := kv.Get(ctx, key, opts...)
		if err != nil {
			t.say("%s: %s", what, t.show(err))
			return
		}
		s := what + ":"
		for _, pair := range r.Kvs {
			s += fmt.Sprintf(" %s=%s", pair.Key, pair.Value)
		}
		t.say("%s (%d)", s, r.Count)
	}
	get("a reads and owns", a, "x")
	m.standStill()
	get("a reads while the server stands still", a, "x")
	m.goOn()
	for i := 2; i < 6; i++ {
		_, err = b.Put(ctx, "x", fmt.Sprint(i))
		t.must("b puts", err)
		get("a reads what b wrote", a, "x")
		_, err = a.Put(ctx, "x", fmt.Sprint(i*10))
		t.must("a puts", err)
		get("b reads what a wrote", b, "x")
	}
	r, err := a.Txn(ctx).If(clientv3.Compare(clientv3.Value("x"), "=", "50")).Then(clientv3.OpPut("x", "t"), clientv3.OpPut("y", "t")).Commit()
	t.must("txn", err)
	t.say("txn: %t", r.Succeeded)
	get("b reads", b, "y")
	get("all", b, "x", clientv3.WithRange("z"))
	d, err := b.Delete(ctx, "x", clientv3.WithRange("z"))
	t.must("delete", err)
	t.say("deleted: %d", d.Deleted)
	get("a reads the deleted", a, "x")
	_, err = a.Put(ctx, "x", "again")
	t.must("put", err)
	get("b reads", b, "x")
	o, err := b.Do(ctx, clientv3.OpGet("x"))
	t.must("do", err)
	t.say("do: %d", o.Get().Count)
}

// mirrorTopic: a copy of a prefix, and what changes after it.
func mirrorTopic(t *topic) {
	c := t.client(t.one())
	for i := 0; i < 2500; i += 125 {
		var ops []clientv3.Op
		for j := i; j < i+125; j++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("m/%04d", j), fmt.Sprint(j)))
		}
		_, err := c.Txn(t.ctx).Then(ops...).Commit()
		t.must("puts", err)
	}
	t.put(c, "other", "1")
	for _, prefix := range []string{"m/", ""} {
		s := mirror.NewSyncer(c, prefix, 0)
		answers, errors := s.SyncBase(t.ctx)
		copied, batches := map[string]string{}, 0
		for r := range answers {
			batches++
			for _, kv := range r.Kvs {
				copied[string(kv.Key)] = string(kv.Value)
			}
		}
		t.must("base", <-errors)
		t.say("base of %q: %d keys in %d answers", prefix, len(copied), batches)
		if prefix == "" {
			continue
		}
		w := s.SyncUpdates(t.ctx)
		t.put(c, "m/0000", "changed")
		t.put(c, "other", "2")
		_, err := c.Delete(t.ctx, "m/1", clientv3.WithPrefix())
		t.must("delete", err)
		t.put(c, "m/new", "1")
		for _, e := range t.gather("updates", w, 1002) {
			if e.Type == clientv3.EventTypeDelete {
				delete(copied, string(e.Kv.Key))
			} else {
				copied[string(e.Kv.Key)] = string(e.Kv.Value)
			}
		}
		r, err := c.Get(t.ctx, "m/", clientv3.WithPrefix())
		t.must("get", err)
		same := len(r.Kvs) == len(copied)
		for _, kv := range r.Kvs {
			same = same && copied[string(kv.Key)] == string(kv.Value)
		}
		t.say("after the updates: %d keys, the same: %t", len(copied), same)
	}
}

// namingTopic: a service that finds its instances through keys.
func namingTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	em, err := endpoints.NewManager(c, "service")
	t.must("manager", err)
	list := func(what string) {
		all, err := em.List(t.ctx)
		t.must("list", err)
		var names []string
		for key, e := range all {
			names = append(names, key+" "+e.Addr)
		}
		sort.Strings(names)
		t.say("%s: %v", what, names)
	}
	own, cancel := context.WithCancel(t.ctx)
	changes, err := em.NewWatchChannel(own)
	t.must("watch", err)
	change := func(what string) {
		select {
		case ups := <-changes:
			for _, up := range ups {
				t.say("%s: %d %s %s", what, up.Op, up.Key, up.Endpoint.Addr)
			}
		case <-t.ctx.Done():
			t.fail("%s: nothing comes", what)
		}
	}
	t.is("add")("done", em.AddEndpoint(t.ctx, "service/1", endpoints.Endpoint{Addr: "one:1", Metadata: "m"}))
	change("added")
	t.is("add outside")("done", em.AddEndpoint(t.ctx, "elsewhere/1", endpoints.Endpoint{Addr: "one:1"}))
	l, err := c.Grant(t.ctx, 100)
	t.must("grant", err)
	t.is("add with a lease")("done", em.AddEndpoint(t.ctx, "service/2", endpoints.Endpoint{Addr: "two:2"}, clientv3.WithLease(l.ID)))
	change("added")
	list("two")
	t.is("update")("done", em.Update(t.ctx, []*endpoints.UpdateWithOpts{
		endpoints.NewDeleteUpdateOpts("service/1"), endpoints.NewAddUpdateOpts("service/3", endpoints.Endpoint{Addr: "three:3"})}))
	change("updated")
	_, err = c.Revoke(t.ctx, l.ID)
	t.must("revoke", err)
	change("its lease is revoked")
	list("one is left")
	cancel()
	t.is("delete")("done", em.DeleteEndpoint(t.ctx, "service/3"))
	list("none")

	// A connection by name: it ends up at the server itself.
	build, err := resolver.NewBuilder(c)
	t.must("builder", err)
	t.is("add itself")("done", em.AddEndpoint(t.ctx, "service/self", endpoints.Endpoint{Addr: m.client}))
	conn, err := grpc.DialContext(t.ctx, "etcd:///service", grpc.WithResolvers(build), grpc.WithInsecure(), grpc.WithBlock())
	t.must("dial", err)
	defer conn.Close()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(t.ctx, &grpc_health_v1.HealthCheckRequest{})
	t.must("health", err)
	t.say("health by name: %s", health.Status)
}
