package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/ioutil"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

func (t *topic) tlsConfig(ca, cert, key string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(cert, key)
	t.must("certificate", err)
	pem, err := ioutil.ReadFile(ca)
	t.must("ca", err)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.fail("no certificate in %s", ca)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

// tlsTopic: client certificates, and the user whom a certificate names.
func tlsTopic(t *topic) {
	flags, good := t.certificates("root")
	m := t.one(append(flags, "--bcrypt-cost=4")...)
	config := t.config(m)
	config.TLS = good
	c := t.open(config)
	ctx := t.ctx
	t.is("put")(c.Put(ctx, "k", "1"))
	w := c.Watch(ctx, "k", clientv3.WithRev(2))
	t.sees("watch", w)
	s, err := c.Status(ctx, m.url())
	t.must("status", err)
	t.say("status: %s", s.Version)
	m.restart()
	t.is("put after the restart")(c.Put(ctx, "k", "2"))
	t.sees("watch", w)
	for what, change := range []func(*clientv3.Config){
		func(c *clientv3.Config) { c.TLS = &tls.Config{RootCAs: good.RootCAs} },
		func(c *clientv3.Config) { c.TLS = &tls.Config{Certificates: good.Certificates} },
		func(c *clientv3.Config) { c.TLS = nil },
		func(c *clientv3.Config) { c.TLS = nil; c.Endpoints = []string{"http://" + m.client} },
	} {
		bad := t.config(m)
		bad.TLS, bad.DialTimeout = good, time.Second
		change(&bad)
		other, err := clientv3.New(bad)
		if err == nil {
			other.Close()
		}
		t.is(fmt.Sprint("bad client ", what))("connected", err)
	}
	// The certificate names root: who has it needs no password.
	t.enable(c)
	t.is("put as the certificate says")(c.Put(ctx, "k", "3"))
	t.is("add u")(c.UserAdd(ctx, "u", "pw"))
	config.Username, config.Password = "u", "pw"
	u := t.open(config)
	t.is("put as u: the password goes before the certificate")(u.Put(ctx, "k", "4"))
	t.closes("watch as u", u.Watch(ctx, "k"))
	t.is("and root still can")(c.Put(ctx, "k", "5"))
}

// limitsTopic: messages that are too large, at either end; more calls than streams.
func limitsTopic(t *topic) {
	m := t.one("--max-request-bytes=100000", "--max-txn-ops=5", "--max-concurrent-streams=4")
	ctx := t.ctx
	c := t.client(m)
	t.is("a put of what is allowed")(c.Put(ctx, "k", strings.Repeat("x", 99000)))
	t.is("a put of more")(c.Put(ctx, "k", strings.Repeat("x", 101000)))
	t.is("a put of much more")(c.Put(ctx, "k", strings.Repeat("x", 1000000)))
	t.is("a put of more than the client sends")(c.Put(ctx, "k", strings.Repeat("x", 3<<20)))
	t.is("five operations")(c.Txn(ctx).Then(gets(5)...).Commit())
	t.is("six operations")(c.Txn(ctx).Then(gets(6)...).Commit())
	config := t.config(m)
	config.MaxCallSendMsgSize = 1000
	small := t.open(config)
	t.is("a small client sends little")(small.Put(ctx, "s", strings.Repeat("x", 900)))
	t.is("a small client sends more")(small.Put(ctx, "s", strings.Repeat("x", 1000)))
	config = t.config(m)
	config.MaxCallSendMsgSize, config.MaxCallRecvMsgSize = 1000, 50000
	small = t.open(config)
	t.is("a small client receives little")(small.Get(ctx, "s"))
	_, err := small.Get(ctx, "k")
	t.say("a small client receives more: %s", status.Code(err))
	config.MaxCallSendMsgSize = 60000
	_, err = clientv3.New(config)
	t.is("it would send more than it receives")("made", err)
	config = t.config(m)
	config.MaxCallSendMsgSize = 16 << 20
	t.is("a large client sends too much")(t.open(config).Put(ctx, "k", strings.Repeat("x", 8<<20)))

	var good int32
	var wait sync.WaitGroup
	for i := 0; i < 100; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			if _, err := c.Put(ctx, fmt.Sprint("p/", i), "1"); err == nil {
				atomic.AddInt32(&good, 1)
			}
		}(i)
	}
	wait.Wait()
	t.say("100 puts over 4 streams: %d", good)
	ordinary := t.member("ordinary")
	ordinary.args = append(ordinary.args, "--initial-cluster=ordinary="+ordinary.peer)
	ordinary.run()
	ordinary.ready()
	config = t.config(ordinary)
	config.MaxCallSendMsgSize = 16 << 20
	large := t.open(config)
	mib := 1 << 20
	t.is("1.4 MiB")(large.Put(ctx, "k", strings.Repeat("x", mib+mib*2/5)))
	t.is("1.6 MiB")(large.Put(ctx, "k", strings.Repeat("x", mib+mib*3/5)))
	t.is("2.5 MiB")(large.Put(ctx, "k", strings.Repeat("x", mib*5/2)))
	var ops []clientv3.Op
	for i := 0; i < 20; i++ {
		ops = append(ops, clientv3.OpGet("k"))
	}
	r, err := large.Txn(ctx).Then(ops...).Commit()
	t.must("28 MiB come back", err)
	t.say("28 MiB come back: %d answers", len(r.Responses))
}

func gets(n int) (ops []clientv3.Op) {
	for i := 0; i < n; i++ {
		ops = append(ops, clientv3.OpGet(fmt.Sprint("none/", i)))
	}
	return ops
}

// contextsTopic: deadlines, cancellation, a client that is closed, a server that stands still.
func contextsTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	t.put(c, "k", "1")
	gone, cancel := context.WithCancel(t.ctx)
	cancel()
	t.is("get, canceled before")(c.Get(gone, "k"))
	t.is("put, canceled before")(c.Put(gone, "k", "2"))
	t.is("grant, canceled before")(c.Grant(gone, 100))
	_, err := c.MemberList(gone)
	t.is("members, canceled before")("done", err)
	t.closes("watch, canceled before", c.Watch(gone, "k"))
	past, cancel := context.WithDeadline(t.ctx, time.Now().Add(-time.Second))
	defer cancel()
	t.is("get, too late")(c.Get(past, "k"))
	t.is("put, too late")(c.Put(past, "k", "2"))
	t.is("txn, too late")(c.Txn(past).Then(clientv3.OpPut("k", "2")).Commit())
	t.is("nothing was put")(c.Get(t.ctx, "k"))

	m.standStill()
	t.is("get, of one that stands still")(c.Get(t.within(300*time.Millisecond), "k"))
	t.is("put, of one that stands still")(c.Put(t.within(300*time.Millisecond), "late", "2"))
	own, cancel := context.WithCancel(t.ctx)
	ended := make(chan error, 1)
	go func() { _, err := c.Get(own, "k"); ended <- err }()
	cancel()
	t.is("get, canceled meanwhile")("done", <-ended)
	doomed := t.client2(m)
	go func() { _, err := doomed.Get(t.ctx, "k"); ended <- err }()
	t.must("close", doomed.Close())
	err = <-ended
	t.say("get, its client closed meanwhile: an error %t", err != nil)
	m.goOn()
	_, err = c.Get(t.ctx, "k")
	t.is("get, when it goes on")("got", err)

	deadlines, passed := 0, 0
	for i := 0; i < 200; i++ { // about as long as a call takes
		ctx, cancel := context.WithTimeout(t.ctx, time.Duration(i*20)*time.Microsecond)
		_, err := c.Put(ctx, "raced", "1")
		cancel()
		if err == nil {
			passed++
		} else if err == context.DeadlineExceeded || err == rpctypes.ErrTimeout { // the server's clock may be first
			deadlines++
		} else {
			t.say("FAILED: %s", t.show(err))
		}
	}
	t.say("200 short deadlines: %d ended well or by the deadline", deadlines+passed)
	closed := t.client(m)
	t.must("close", closed.Close())
	_, err = closed.Get(t.ctx, "k")
	t.is("get of a closed client")("done", err)
	for _, endpoint := range []string{"http://" + t.host + ":1", t.host + ":1", "http://nowhere.invalid:1"} {
		config := t.config()
		config.Endpoints, config.DialTimeout = []string{endpoint}, 300*time.Millisecond
		_, err = clientv3.New(config)
		t.is("client of nobody")("made", err)
	}
	_, err = clientv3.New(t.config())
	t.is("client of nothing")("made", err)
	lazy := t.config(m)
	lazy.DialOptions = nil
	lazy.Endpoints = []string{"http://" + t.host + ":1", m.url()}
	lazy.DialTimeout = time.Second
	_, err = t.open(lazy).Get(t.ctx, "k")
	t.is("one endpoint of two is good")("got", err)
	m.kill()
	config := t.config(m)
	config.DialOptions = nil
	config.DialTimeout = 0
	patient := t.open(config)
	got := make(chan error, 1)
	go func() { _, err := patient.Get(t.ctx, "k"); got <- err }()
	m.run()
	m.ready()
	t.is("a client that was there before its server gets")("what it wants", <-got)
}

// client2 is one that the topic itself closes.
func (t *topic) client2(m *server) *clientv3.Client {
	config := t.config(m)
	config.DialOptions = nil
	c, err := clientv3.New(config)
	t.must("client", err)
	return c
}

// keepaliveTopic: pings that are answered keep a connection; one where nobody answers is left. The client's library
// pings no more often than every 10 s, so this takes that long.
func keepaliveTopic(t *topic) {
	members := t.cluster(3)
	var dials int32
	config := t.config(members[0])
	config.DialKeepAliveTime, config.DialKeepAliveTimeout = 10*time.Second, time.Second
	config.PermitWithoutStream = true
	moving := t.open(config)
	config = t.config(members[1])
	config.DialKeepAliveTime, config.DialKeepAliveTimeout = 10*time.Second, time.Second
	config.PermitWithoutStream = true
	config.DialOptions = append(config.DialOptions, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		atomic.AddInt32(&dials, 1)
		var d net.Dialer
		return d.DialContext(ctx, "tcp", members[1].client)
	}))
	idle := t.open(config)
	w := moving.Watch(t.ctx, "k", clientv3.WithCreatedNotify())
	t.next("created", w)
	moving.SetEndpoints(members[0].url(), members[1].url(), members[2].url())
	others := t.client(members[1], members[2])
	members[0].standStill()
	begin := time.Now()
	t.until("put without the first", func() bool { _, err := others.Put(t.within(5*time.Second), "k", "1"); return err == nil })
	t.sees("a watch at one that stands still moves on", w)
	t.say("in less than 20 s: %t", time.Since(begin) < 20*time.Second)
	members[0].goOn()
	_, err := idle.Get(t.ctx, "k")
	t.must("get", err)
	t.say("an idle connection that is pinged: %d dial", atomic.LoadInt32(&dials))
}
