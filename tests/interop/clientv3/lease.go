package main

import (
	"context"
	"fmt"
	"sync"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
)

// leaseTopic: grants, what hangs on them, renewals, ends.
func leaseTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	ctx := t.ctx
	long, err := c.Grant(ctx, 500)
	t.is("grant")(long, err)
	other, err := c.Grant(ctx, 600)
	t.is("grant")(other, err)
	raw := clientv3.RetryLeaseClient(c)
	grant := func(what string, id, ttl int64) {
		r, err := raw.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: ttl})
		if err != nil {
			t.say("%s: %s", what, t.show(err))
		} else {
			t.call(uint64(r.ID), fmt.Sprint("N", r.ID))
			t.say("%s: id %d ttl %d", what, r.ID, r.TTL)
		}
	}
	grant("grant 1000", 1000, 700)
	grant("grant 1000 again", 1000, 700)
	grant("grant with ttl 0", 1001, 0)
	t.is("revoke it")(c.Revoke(ctx, 1001))
	grant("grant with ttl -1", 1002, -1)
	t.is("revoke it")(c.Revoke(ctx, 1002))
	grant("the longest", 1003, 9000000000)
	grant("longer", 1004, 9000000001)
	t.is("attach")(c.Put(ctx, "l/1", "1", clientv3.WithLease(long.ID)))
	t.is("attach")(c.Put(ctx, "l/2", "1", clientv3.WithLease(long.ID)))
	t.is("attach to another")(c.Put(ctx, "l/2", "2", clientv3.WithLease(other.ID)))
	t.is("detach")(c.Put(ctx, "l/3", "1", clientv3.WithLease(other.ID)))
	t.is("detach")(c.Put(ctx, "l/3", "2"))
	t.is("ttl")(c.TimeToLive(ctx, long.ID))
	t.is("ttl with keys")(c.TimeToLive(ctx, long.ID, clientv3.WithAttachedKeys()))
	t.is("ttl with keys")(c.TimeToLive(ctx, other.ID, clientv3.WithAttachedKeys()))
	t.call(77, "N77")
	t.is("ttl of none")(c.TimeToLive(ctx, 77))
	t.is("leases")(c.Leases(ctx))
	t.is("keep alive once")(c.KeepAliveOnce(ctx, long.ID))
	t.is("keep alive once of none")(c.KeepAliveOnce(ctx, 77))
	kept, err := c.KeepAlive(ctx, 77)
	t.must("keep alive", err)
	_, ok := <-kept
	t.say("keep alive of none: open %t", ok)
	t.is("revoke none")(c.Revoke(ctx, 77))
	w := c.Watch(ctx, "l/", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithPrevKV())
	t.next("created", w)
	kept, err = c.KeepAlive(ctx, other.ID)
	t.must("keep alive", err)
	t.is("kept alive")(<-kept, nil)
	t.is("revoke")(c.Revoke(ctx, other.ID))
	t.sees("its keys are deleted", w)
	t.is("revoke again")(c.Revoke(ctx, other.ID))
	t.is("ttl of the revoked")(c.TimeToLive(ctx, other.ID, clientv3.WithAttachedKeys()))
	t.is("put with the revoked")(c.Put(ctx, "l/4", "1", clientv3.WithLease(other.ID)))

	// A short one ends; one that is kept alive does not. Both have the shortest time there is.
	short, err := c.Grant(ctx, 1)
	t.is("grant the shortest")(short, err)
	alive, err := c.Grant(ctx, 1)
	t.is("grant the shortest")(alive, err)
	renewals, err := c.KeepAlive(ctx, alive.ID)
	t.must("keep alive", err)
	own, cancel := context.WithCancel(ctx)
	twice, err := c.KeepAlive(own, alive.ID)
	t.must("keep alive", err)
	t.put(c, "l/short", "1", clientv3.WithLease(short.ID))
	t.put(c, "l/alive", "1", clientv3.WithLease(alive.ID))
	t.sees("put", w)
	t.sees("put", w)
	t.sees("expired", w)
	t.is("ttl of the expired")(c.TimeToLive(ctx, short.ID))
	for i := 0; i < 3; i++ {
		r := <-renewals
		if r == nil {
			t.fail("no renewal any more")
		}
		t.say("renewed: ttl %d", r.TTL)
	}
	r, ok := <-twice
	t.say("for the second listener too: %t, ttl %d", ok, r.TTL)
	cancel()
	for ok {
		_, ok = <-twice
	}
	t.say("the second listener has gone")
	t.is("the kept one is there")(c.Get(ctx, "l/alive"))
	t.must("revoke", func() error { _, err := c.Revoke(ctx, alive.ID); return err }())
	for r := range renewals {
		_ = r
	}
	t.say("renewals end with the lease")
	t.sees("and its key", w)

	// sessions
	s, err := concurrency.NewSession(c, concurrency.WithTTL(1))
	t.must("session", err)
	t.put(c, "l/session", "1", clientv3.WithLease(s.Lease()))
	t.sees("a session's key", w)
	t.must("close", s.Close())
	<-s.Done()
	t.sees("gone with it", w)
	s, err = concurrency.NewSession(c, concurrency.WithTTL(1))
	t.must("session", err)
	t.put(c, "l/orphan", "1", clientv3.WithLease(s.Lease()))
	t.sees("a session's key", w)
	s.Orphan()
	t.sees("gone some time after it", w)
	borrowed, err := concurrency.NewSession(c, concurrency.WithLease(long.ID))
	t.must("session", err)
	t.say("a session with a lease that was there: %t", borrowed.Lease() == long.ID)
	t.must("close", borrowed.Close())
	t.sees("ends what it borrowed", w)

	// many at once
	var wait sync.WaitGroup
	for i := 0; i < 50; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			l, err := c.Grant(ctx, 300)
			if err == nil {
				_, err = c.KeepAlive(ctx, l.ID)
			}
			if err != nil {
				t.say("FAILED: %s", t.show(err))
			}
		}()
	}
	wait.Wait()
	list, err := c.Leases(ctx)
	t.must("leases", err)
	t.say("leases in the end: %d", len(list.Leases))
}

// leaseRestartTopic: leases and those who keep them alive outlive the server's end.
func leaseRestartTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	l, err := c.Grant(t.ctx, 4)
	t.must("grant", err)
	t.put(c, "k", "1", clientv3.WithLease(l.ID))
	renewals, err := c.KeepAlive(t.ctx, l.ID)
	t.must("keep alive", err)
	<-renewals
	for i := 0; i < 2; i++ {
		m.restart()
	drain: // what came before the end
		for {
			select {
			case <-renewals:
			default:
				break drain
			}
		}
		r, ok := <-renewals
		t.say("renewed after the restart: %t %t", ok, r != nil && r.ID == l.ID)
	}
	t.is("its key")(c.Get(t.ctx, "k"))
	t.is("its keys")(c.TimeToLive(t.ctx, l.ID, clientv3.WithAttachedKeys()))
	gone, err := c.Grant(t.ctx, 1)
	t.must("grant", err)
	t.put(c, "gone", "1", clientv3.WithLease(gone.ID))
	m.restart()
	t.until("a lease expires after the restart", func() bool {
		r, err := c.Get(t.ctx, "gone")
		return err == nil && r.Count == 0
	})
	t.say("the one that nobody kept alive is gone")
}
