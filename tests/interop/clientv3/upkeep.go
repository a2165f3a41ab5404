package main

import (
	"fmt"
	"io"
	"io/ioutil"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/snapshot"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"go.uber.org/zap"
)

func removeAll(dir string) error { return os.RemoveAll(dir) }

// maintenanceTopic: status, hashes, defragmentation, snapshots as etcd's own library reads them.
func maintenanceTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	ctx := t.ctx
	for i := 0; i < 300; i++ {
		t.put(c, fmt.Sprintf("k/%03d", i), strings.Repeat("v", 1000))
	}
	ids := t.learn(c)
	var status *clientv3.StatusResponse
	t.until("what was put is in the database", func() (done bool) {
		var err error
		status, err = c.Status(ctx, m.url())
		t.must("status", err)
		return status.DbSizeInUse > 300000 && status.DbSizeInUse <= status.DbSize
	})
	t.say("status: version %s leader %s term %t index %t applied %t learner %t errors %v", status.Version, t.id(status.Leader), status.RaftTerm > 0,
		status.RaftIndex > 300, status.RaftAppliedIndex == status.RaftIndex, status.IsLearner, status.Errors)
	hash := func(rev int64) *clientv3.HashKVResponse {
		h, err := c.HashKV(ctx, m.url(), rev)
		if err != nil {
			t.say("hash at %d: %s", rev, t.show(err))
			return nil
		}
		t.say("hash at %d: @%d compacted %d hash %08x", rev, h.Header.Revision, h.CompactRevision, h.Hash)
		return h
	}
	hash(0)
	hash(100)
	hash(1000)
	_, err := c.Compact(ctx, 200, clientv3.WithCompactPhysical())
	t.must("compact", err)
	hash(0)
	hash(250)
	hash(100)
	t.is("delete")(c.Delete(ctx, "k/", clientv3.WithPrefix()))
	_, err = c.Compact(ctx, 302, clientv3.WithCompactPhysical())
	t.must("compact", err)
	hash(0)
	t.is("defragment")(c.Defragment(ctx, m.url()))
	after, err := c.Status(ctx, m.url())
	t.must("status", err)
	t.say("smaller after it: %t", after.DbSizeInUse < status.DbSizeInUse && after.DbSize <= status.DbSize)
	impatient := t.config(m)
	impatient.DialTimeout = 300 * time.Millisecond
	_, err = t.open(impatient).Defragment(ctx, "http://"+t.host+":1")
	t.say("defragment of nobody: %t", err != nil)
	t.is("move leader to itself")(c.MoveLeader(ctx, ids["m1"]))
	t.is("move leader to nobody")(c.MoveLeader(ctx, 12345))
	for i := 0; i < 50; i++ {
		t.put(c, fmt.Sprintf("s/%03d", i), strings.Repeat("v", 20000))
	}
	reader, err := c.Snapshot(ctx)
	t.must("snapshot", err)
	n, err := io.Copy(ioutil.Discard, reader)
	t.must("snapshot", err)
	t.say("snapshot: a database and its checksum %t", n > 1000000 && n%512 == 32)
	path := filepath.Join(t.folder("snapshots"), "one.db")
	config := t.config(m)
	manager := snapshot.NewV3(zap.NewNop())
	t.must("save", manager.Save(ctx, config, path))
	info, err := manager.Status(path)
	t.must("status of the snapshot", err)
	t.say("its status: revision %d keys %t", info.Revision, info.TotalKey >= 351)
	data := filepath.Join(t.folder("restored"), "data")
	t.must("restore", manager.Restore(snapshot.RestoreConfig{SnapshotPath: path, Name: "m1", OutputDataDir: data,
		PeerURLs: []string{m.peer}, InitialCluster: "m1=" + m.peer, InitialClusterToken: "again"}))
	m.stop()
	m.args[1] = "--data-dir=" + data
	m.run()
	m.ready()
	t.until("a server on the restored data", func() bool {
		r, err := c.Get(ctx, "s/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil {
			t.say("restored: %s", t.show(r))
		}
		return err == nil
	})
}

// alarmsTopic: a full database and a corrupt one.
func alarmsTopic(t *topic) {
	m := t.one("--quota-backend-bytes=2097152")
	c := t.client(m)
	ctx := t.ctx
	t.learn(c)
	t.is("no alarm")(c.AlarmList(ctx))
	lease, err := c.Grant(ctx, 1000)
	t.must("grant", err)
	value := strings.Repeat("x", 100<<10)
	n := 0
	for ; n < 100; n++ {
		if _, err = c.Put(ctx, fmt.Sprintf("fill/%03d", n), value); err != nil {
			break
		}
	}
	t.say("it is full: %s", t.show(err))
	t.until("the alarm", func() bool { r, err := c.AlarmList(ctx); return err == nil && len(r.Alarms) == 1 })
	t.is("alarm")(c.AlarmList(ctx))
	t.is("put")(c.Put(ctx, "small", "1"))
	t.is("txn that puts")(c.Txn(ctx).Then(clientv3.OpPut("small", "1")).Commit())
	r, err := c.Txn(ctx).Then(clientv3.OpDelete("none")).Commit()
	t.say("txn that deletes: %t", err == nil && r.Succeeded)
	_, err = c.Get(ctx, "small")
	t.is("get")("answered", err)
	_, err = c.Grant(ctx, 10)
	t.is("grant")("answered", err)
	_, err = c.KeepAliveOnce(ctx, lease.ID)
	t.is("keep alive")("answered", err)
	status, err := c.Status(ctx, m.url())
	t.must("status", err)
	t.say("status says %d errors", len(status.Errors))
	d, err := c.Delete(ctx, "fill/", clientv3.WithPrefix())
	t.must("delete", err)
	t.say("all are deleted: %t", int(d.Deleted) == n || int(d.Deleted) == n+1) // the last may be both done and refused
	_, err = c.Compact(ctx, d.Header.Revision, clientv3.WithCompactPhysical())
	t.must("compact", err)
	_, err = c.Defragment(ctx, m.url())
	t.must("defragment", err)
	t.is("disarm")(c.AlarmDisarm(ctx, &clientv3.AlarmMember{}))
	t.is("no alarm")(c.AlarmList(ctx))
	_, err = c.Put(ctx, "small", "1")
	t.is("put")("goes again", err)

	raw := clientv3.RetryMaintenanceClient(c, c.ActiveConnection())
	// It names a member that is not there: one that is would serve no data, of ours.
	const stranger = 7777
	t.call(stranger, "stranger")
	alarm := func(what string, action pb.AlarmRequest_AlarmAction, kind pb.AlarmType) {
		r, err := raw.Alarm(ctx, &pb.AlarmRequest{Action: action, MemberID: stranger, Alarm: kind})
		if err != nil {
			t.say("%s: %s", what, t.show(err))
		} else {
			t.say("%s: %s", what, t.alarms(r.Alarms))
		}
	}
	alarm("raise corrupt", pb.AlarmRequest_ACTIVATE, pb.AlarmType_CORRUPT)
	alarm("list", pb.AlarmRequest_GET, pb.AlarmType_CORRUPT)
	alarm("list the others", pb.AlarmRequest_GET, pb.AlarmType_NOSPACE)
	for what, call := range []func() error{
		func() error { _, err := c.Put(ctx, "k", "1"); return err },
		func() error { _, err := c.Get(ctx, "k"); return err },
		func() error { _, err := c.Delete(ctx, "k"); return err },
		func() error { _, err := c.Txn(ctx).Then(clientv3.OpPut("k", "1")).Commit(); return err },
		func() error { _, err := c.Compact(ctx, 1); return err },
		func() error { _, err := c.Grant(ctx, 10); return err },
		func() error { _, err := c.Revoke(ctx, lease.ID); return err },
		func() error { _, err := c.MemberList(ctx); return err },
	} {
		t.is(fmt.Sprint("when corrupt, call ", what))("answered", call())
	}
	alarm("disarm", pb.AlarmRequest_DEACTIVATE, pb.AlarmType_CORRUPT)
	_, err = c.Put(ctx, "small", "1")
	t.is("put")("goes again", err)
}
