package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
)

// joins makes a member of the cluster that the others know already.
func (t *topic) joins(name, peers string, s *server) {
	s.args = append(s.args, "--initial-cluster="+peers+","+name+"="+s.peer, "--initial-cluster-state=existing", "--initial-cluster-token="+t.name)
	s.run()
}

// membersTopic: a learner is added, refused, started, promoted; members are changed and removed.
func membersTopic(t *topic) {
	m1 := t.one()
	c := t.client(m1)
	ctx := t.ctx
	ids := t.learn(c)
	raw := clientv3.RetryClusterClient(c)
	t.is("list")(c.MemberList(ctx))
	_, err := raw.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"nonsense"}})
	t.is("add nonsense")("done", err)
	_, err = raw.MemberAdd(ctx, &pb.MemberAddRequest{})
	t.is("add without URLs")("done", err)
	_, err = c.MemberAdd(ctx, []string{"nonsense"})
	t.is("add nonsense, by the client")("done", err)
	t.is("add one's own URL")(c.MemberAdd(ctx, []string{m1.peer}))
	t.is("remove nobody")(c.MemberRemove(ctx, 12345))
	t.is("update nobody")(c.MemberUpdate(ctx, 12345, []string{"http://127.0.0.1:1"}))
	t.is("promote nobody")(c.MemberPromote(ctx, 12345))
	t.is("promote a voter")(c.MemberPromote(ctx, ids["m1"]))
	t.is("update with nonsense, by the client")(c.MemberUpdate(ctx, ids["m1"], []string{"nonsense"}))

	m2 := t.member("m2")
	added, err := c.MemberAddAsLearner(ctx, []string{m2.peer})
	t.is("add a learner")(added, err)
	t.is("list")(c.MemberList(ctx))
	t.is("add another learner")(c.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"}))
	t.is("add its URL again")(c.MemberAdd(ctx, []string{m2.peer, "http://127.0.0.1:2"}))
	t.is("promote what has not started")(c.MemberPromote(ctx, added.Member.ID))
	t.is("make it the leader")(c.MoveLeader(ctx, added.Member.ID))
	t.joins("m2", "m1="+m1.peer, m2)
	m2.ready()
	l := t.client(m2)
	t.is("put at the learner")(l.Put(ctx, "k", "1"))
	t.is("get at the learner")(l.Get(t.within(2*time.Second), "k"))
	t.put(c, "k", "1")
	t.until("the learner has it", func() bool {
		r, err := l.Get(ctx, "k", clientv3.WithSerializable())
		t.must("serializable get at the learner", err)
		return r.Count == 1
	})
	status, err := l.Status(ctx, m2.url())
	t.must("status", err)
	t.say("it says that it is a learner: %t", status.IsLearner)
	t.until("promote", func() bool {
		r, err := c.MemberPromote(ctx, added.Member.ID)
		if err == rpctypes.ErrMemberLearnerNotReady {
			return false
		}
		t.is("promote")(r, err)
		return true
	})
	t.is("promote again")(c.MemberPromote(ctx, added.Member.ID))
	t.is("list")(c.MemberList(ctx))

	m3 := t.member("m3")
	var third *clientv3.MemberAddResponse
	t.until("add a third", func() bool {
		third, err = c.MemberAdd(ctx, []string{m3.peer})
		if err == rpctypes.ErrUnhealthy { // until they have known each other for a while
			return false
		}
		t.is("add a third")(third, err)
		return true
	})
	t.is("add a fourth")(c.MemberAdd(ctx, []string{"http://127.0.0.1:1"}))
	t.is("remove a voter that is needed")(c.MemberRemove(ctx, added.Member.ID))
	t.is("update the third")(c.MemberUpdate(ctx, third.Member.ID, []string{"http://127.0.0.1:1", m3.peer}))
	t.is("update it to what another has")(c.MemberUpdate(ctx, third.Member.ID, []string{m1.peer}))
	t.is("update it back")(c.MemberUpdate(ctx, third.Member.ID, []string{m3.peer}))
	t.joins("m3", "m1="+m1.peer+",m2="+m2.peer, m3)
	m3.ready()
	t.is("put at the third")(t.client(m3).Put(ctx, "k", "3"))
	t.is("list")(c.MemberList(ctx))
	t.until("remove the third", func() bool {
		_, err = c.MemberRemove(ctx, third.Member.ID)
		return err != rpctypes.ErrUnhealthy
	})
	t.is("remove the third")("done", err)
	t.until("it ends", m3.isDown)
	t.is("remove it again")(c.MemberRemove(ctx, third.Member.ID))
	t.is("list")(c.MemberList(ctx))
	t.is("put")(c.Put(ctx, "k", "4"))
}

// clusterTopic: three members, one of which is lost and comes back.
func clusterTopic(t *topic) {
	members := t.cluster(3)
	c := t.client(members...)
	ctx := t.ctx
	t.learn(c)
	t.is("list")(c.MemberList(ctx))
	alone := t.client(members[0])
	t.must("sync", alone.Sync(ctx))
	t.say("after a sync it knows %d endpoints", len(alone.Endpoints()))
	config := t.config(members[1])
	config.AutoSyncInterval = 50 * time.Millisecond
	auto := t.open(config)
	t.until("it syncs by itself", func() bool { return len(auto.Endpoints()) == 3 })
	config = t.config(members...)
	config.RejectOldCluster = true
	t.open(config)
	t.say("the cluster is not too old")
	for i := 0; i < 30; i++ {
		t.put(c, fmt.Sprintf("k/%d", i%10), fmt.Sprint(i))
	}
	leaders, hashes := map[uint64]bool{}, map[uint32]bool{}
	for _, m := range members {
		t.until("has all", func() bool {
			h, err := c.HashKV(ctx, m.url(), 0)
			if err != nil || h.Header.Revision < 31 {
				return false
			}
			hashes[h.Hash] = true
			return true
		})
		s, err := c.Status(ctx, m.url())
		t.must("status", err)
		leaders[s.Leader] = true
	}
	t.say("%d leader, %d hash", len(leaders), len(hashes))

	// one is lost: calls go to the others, watches move
	var watches []clientv3.WatchChan
	for i := range members {
		config := t.config(members[i], members[(i+1)%3], members[(i+2)%3])
		watches = append(watches, t.open(config).Watch(ctx, "w", clientv3.WithCreatedNotify()))
		t.next("created", watches[i])
	}
	session := t.session(c, 60)
	for _, victim := range members {
		victim.kill()
		good := 0
		for i := 0; i < 20; i++ {
			if _, err := c.Get(ctx, "k/1"); err != nil {
				t.say("get without %s: %s", victim.name, t.show(err))
			} else {
				good++
			}
		}
		t.say("without %s: %d of 20 gets", victim.name, good)
		t.until("a put", func() bool {
			_, err := c.Put(t.within(5*time.Second), "w", victim.name)
			return err == nil
		})
		for i, w := range watches {
			for seen := ""; seen != victim.name; {
				r, ok := t.next("watch", w)
				if !ok || r.Canceled {
					t.fail("watch %d without %s: %t %s", i, victim.name, ok, t.show(r))
				}
				for _, e := range r.Events {
					seen = string(e.Kv.Value)
				}
			}
		}
		t.say("all watches saw what was put without %s", victim.name)
		if victim == members[1] {
			others := t.client(members[0], members[2])
			t.until("its absence is noticed", func() bool {
				_, err := others.MemberAdd(ctx, []string{"http://127.0.0.1:1"})
				if err != nil && strings.Contains(err.Error(), "unhealthy") {
					t.is("add a member now")("done", err)
					return true
				}
				return err == nil
			})
		}
		victim.run()
		victim.ready()
	}
	select {
	case <-session.Done():
		t.say("FAILED: the session is lost")
	default:
		t.say("the session lives")
	}
	only := t.client(members[0])
	only.SetEndpoints(members[1].url())
	members[0].kill()
	t.until("a get at another endpoint", func() bool { _, err := only.Get(t.within(5*time.Second), "k/1"); return err == nil })
	t.say("endpoints are changed while it runs: %t", only.Endpoints()[0] == members[1].url())
}

// leaderTopic: the leader is moved, the leader is lost, and the quorum with it.
func leaderTopic(t *topic) {
	members := t.cluster(3)
	ctx := t.ctx
	var clients []*clientv3.Client
	for _, m := range members {
		clients = append(clients, t.client(m))
	}
	ids := t.learn(clients[0])
	leader := func() (at int) {
		t.until("a leader that all know", func() bool {
			first := uint64(0)
			for i, m := range members {
				s, err := clients[i].Status(ctx, m.url())
				if err != nil || s.Leader == 0 || (first != 0 && s.Leader != first) {
					return false
				}
				first = s.Leader
			}
			for i, m := range members {
				if ids[m.name] == first {
					at = i
					return true
				}
			}
			return false
		})
		return at
	}
	at := leader()
	follower, third := (at+1)%3, (at+2)%3
	t.put(clients[at], "k", "1")
	t.is("move it, asked of a follower")(clients[follower].MoveLeader(ctx, ids[members[third].name]))
	t.is("move it to nobody")(clients[at].MoveLeader(ctx, 12345))
	_, err := clients[at].MoveLeader(ctx, ids[members[follower].name])
	t.is("move it")("done", err)
	t.say("it is where it should be: %t", leader() == follower)
	t.is("put at the old one")(clients[at].Put(ctx, "k", "2"))

	// two of three are lost
	c, survivor := clients[third], members[third]
	with := clientv3.WithRequireLeader(ctx)
	bound := c.Watch(with, "k", clientv3.WithCreatedNotify())
	t.next("created", bound)
	free := c.Watch(ctx, "k", clientv3.WithCreatedNotify())
	t.next("created", free)
	lease, err := c.Grant(ctx, 60)
	t.must("grant", err)
	renewals, err := c.KeepAlive(with, lease.ID)
	t.must("keep alive", err)
	<-renewals
	members[at].kill()
	members[follower].kill()
	for last := ""; ; { // what it saw is sent once more when it has moved
		r, ok := t.next("a watch that wants a leader", bound)
		if !ok {
			t.say("a watch that wants a leader: %s", last)
			break
		}
		last = t.show(r)
	}
	for range renewals {
	}
	t.say("a renewal that wants a leader: closed")
	t.is("put that wants a leader")(c.Put(with, "k", "3"))
	short, cancel := context.WithTimeout(with, time.Second)
	t.is("get that wants a leader")(c.Get(short, "k"))
	cancel()
	t.is("put with a deadline")(c.Put(t.within(500*time.Millisecond), "k", "3"))
	t.is("get with a deadline")(c.Get(t.within(500*time.Millisecond), "k"))
	own, cancel := context.WithCancel(ctx)
	canceled := make(chan error)
	go func() { _, err := c.Put(own, "k", "3"); canceled <- err }()
	cancel()
	t.is("put that is canceled")("done", <-canceled)
	t.is("get from this member alone")(c.Get(ctx, "k", clientv3.WithSerializable()))
	t.is("status without a leader")(func() (interface{}, error) {
		s, err := c.Status(ctx, survivor.url())
		if err != nil {
			return nil, err
		}
		return fmt.Sprintf("leader %s, %d errors %v", t.id(s.Leader), len(s.Errors), s.Errors), nil
	}())
	t.is("grant with a deadline")(c.Grant(t.within(500*time.Millisecond), 100))
	t.is("a watch that wants a leader, now")(t.firstOf(c.Watch(with, "k")), nil)
	members[at].run()
	members[follower].run()
	members[at].ready()
	members[follower].ready()
	leader()
	t.until("put", func() bool { _, err := c.Put(t.within(5*time.Second), "k", "end"); return err == nil })
	t.until("the watch that did not mind", func() bool {
		r, ok := t.next("watch", free)
		if !ok || r.Canceled {
			t.fail("it ended: %s", t.show(r))
		}
		for _, e := range r.Events {
			if string(e.Kv.Value) == "end" {
				return true
			}
		}
		return false
	})
	t.say("the watch that did not mind goes on")
	s, err := concurrency.NewSession(t.client(members...), concurrency.WithTTL(60))
	t.must("session", err)
	m := concurrency.NewMutex(s, "/lock")
	t.must("lock", m.Lock(ctx))
	members[leader()].stop()
	t.until("unlock without the leader", func() bool { return m.Unlock(t.within(5*time.Second)) == nil })
	t.say("locked, and unlocked when the leader had gone")
}

// timeoutTopic: a leader that has the entry but no majority for it, and a follower whose leader goes.
func timeoutTopic(t *topic) {
	members := t.cluster(3)
	ids := t.learn(t.client(members...))
	leads := func() (at int) {
		t.until("a leader", func() bool {
			s, err := t.client(members[0]).Status(t.ctx, members[0].url())
			if err != nil {
				return false
			}
			for i, m := range members {
				if s.Leader == ids[m.name] {
					at = i
					return true
				}
			}
			return false
		})
		return at
	}
	at := leads()
	c, another := t.client(members[at]), t.client(members[(at+1)%3])
	t.put(c, "k", "1")
	members[(at+1)%3].standStill()
	members[(at+2)%3].standStill()
	t.is("put without a majority")(c.Put(t.ctx, "k", "2"))
	members[(at+1)%3].goOn()
	members[(at+2)%3].goOn()
	t.until("put", func() bool { _, err := another.Put(t.within(5*time.Second), "k", "3"); return err == nil })
	t.say("with a majority it goes on")
}

// firstOf is what comes first, or that nothing does.
func (t *topic) firstOf(w clientv3.WatchChan) string {
	r, ok := t.next("first", w)
	if !ok {
		return "closed"
	}
	return t.show(r)
}
