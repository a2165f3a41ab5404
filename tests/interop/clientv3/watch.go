package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
)

// next waits for one response.
func (t *topic) next(what string, w clientv3.WatchChan) (clientv3.WatchResponse, bool) {
	select {
	case r, ok := <-w:
		return r, ok
	case <-t.ctx.Done():
		t.fail("%s: nothing comes", what)
	}
	panic("not reached")
}

// sees prints the next response.
func (t *topic) sees(what string, w clientv3.WatchChan) {
	r, ok := t.next(what, w)
	if !ok {
		t.say("%s: closed", what)
	} else {
		t.say("%s: %s", what, t.show(r))
	}
}

// gather n events, in however many responses they come.
func (t *topic) gather(what string, w clientv3.WatchChan, n int) (events []*clientv3.Event) {
	for len(events) < n {
		r, ok := t.next(what, w)
		if !ok || r.Canceled {
			t.fail("%s: ended after %d events: %s", what, len(events), t.show(r))
		}
		events = append(events, r.Events...)
	}
	return events
}

func (t *topic) put(c *clientv3.Client, key, value string, opts ...clientv3.OpOption) {
	_, err := c.Put(t.ctx, key, value, opts...)
	t.must("put "+key, err)
}

// closes waits until a watch is over.
func (t *topic) closes(what string, w clientv3.WatchChan) {
	for {
		r, ok := t.next(what, w)
		if !ok {
			t.say("%s: closed", what)
			return
		}
		t.say("%s: %s", what, t.show(r))
	}
}

// watchTopic: history, live, every option, many at once, and how watches end.
func watchTopic(t *topic) {
	c := t.client(t.one())
	ctx := t.ctx
	for i := 1; i <= 5; i++ {
		t.put(c, "h", fmt.Sprint(i)) // revisions 2 to 6
	}
	_, err := c.Delete(ctx, "h")
	t.must("delete", err)
	history := c.Watch(ctx, "h", clientv3.WithRev(2), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	t.sees("created", history)
	t.say("history: %s", t.events(t.gather("history", history, 6)))
	t.put(c, "h", "new")
	t.sees("live", history)
	t.sees("from within", c.Watch(ctx, "h", clientv3.WithRev(8)))

	future := c.Watch(ctx, "f", clientv3.WithRev(11), clientv3.WithCreatedNotify())
	t.sees("of the future, created", future)
	t.put(c, "f", "9")
	t.put(c, "f", "10")
	t.put(c, "f", "11")
	t.sees("of the future", future)

	open := func(key string, opts ...clientv3.OpOption) clientv3.WatchChan {
		w := c.Watch(ctx, key, append(opts, clientv3.WithCreatedNotify())...)
		t.next("created", w)
		return w
	}
	noPuts, noDeletes := open("x", clientv3.WithFilterPut()), open("x", clientv3.WithFilterDelete())
	prefix, ranged, from := open("x", clientv3.WithPrefix()), open("x", clientv3.WithRange("x2")), open("x1", clientv3.WithFromKey())
	previous := open("x", clientv3.WithPrevKV())
	everything := open("", clientv3.WithPrefix())
	t.put(c, "x", "1")
	t.put(c, "x", "2")
	t.put(c, "x1", "1")
	t.put(c, "x2", "1")
	t.put(c, "y", "1")
	_, err = c.Delete(ctx, "x", clientv3.WithPrefix())
	t.must("delete", err)
	t.put(c, "x", "end")
	t.say("no puts: %s", t.events(t.gather("no puts", noPuts, 1)))
	t.say("no deletes: %s", t.events(t.gather("no deletes", noDeletes, 3)))
	t.say("prefix: %s", t.events(t.gather("prefix", prefix, 8)))
	t.say("range: %s", t.events(t.gather("range", ranged, 6)))
	t.say("from key: %s", t.events(t.gather("from key", from, 5)))
	t.say("previous: %s", t.events(t.gather("previous", previous, 4)))
	t.say("everything: %s", t.events(t.gather("everything", everything, 9)))

	_, err = c.Txn(ctx).Then(clientv3.OpPut("x1", "t"), clientv3.OpDelete("x"), clientv3.OpPut("x2", "t")).Commit()
	t.must("txn", err)
	t.sees("a txn is one response", prefix)

	// canceled by who watches, by the client's end
	own, cancel := context.WithCancel(ctx)
	w := c.Watch(own, "c", clientv3.WithCreatedNotify())
	t.next("created", w)
	cancel()
	t.closes("canceled", w)
	second := t.open(t.config(t.servers[0]))
	w = second.Watch(ctx, "c", clientv3.WithCreatedNotify())
	t.next("created", w)
	t.is("client is closed")("without error", second.Close())
	t.closes("its watch", w)

	// compaction
	_, err = c.Compact(ctx, 10)
	t.must("compact", err)
	t.closes("a compacted revision", c.Watch(ctx, "h", clientv3.WithRev(5)))
	t.sees("the first that is not", c.Watch(ctx, "x", clientv3.WithRev(10)))
	t.closes("a wrong range", c.Watch(ctx, "x", clientv3.WithRange("a")))

	manyWatchers(t, c)
	fragments(t)
}

// manyWatchers: a thousand on one stream, and on many.
func manyWatchers(t *topic, c *clientv3.Client) {
	const n = 1000
	var all []clientv3.WatchChan
	for i := 0; i < n; i++ {
		ctx := t.ctx
		if i%10 == 0 { // a stream of its own
			ctx = context.WithValue(ctx, givenUp{}, i)
		}
		all = append(all, c.Watch(ctx, fmt.Sprintf("many/%d", i%100), clientv3.WithCreatedNotify()))
	}
	for _, w := range all {
		t.next("many are created", w)
	}
	for i := 0; i < 100; i++ {
		t.put(c, fmt.Sprintf("many/%d", i), "1")
	}
	right := 0
	for i, w := range all {
		events := t.gather("many", w, 1)
		if len(events) == 1 && string(events[0].Kv.Key) == fmt.Sprintf("many/%d", i%100) {
			right++
		}
	}
	t.say("%d watchers, %d saw what is theirs", n, right)
}

// fragments: one revision with more than a message may hold.
func fragments(t *topic) {
	c := t.client(t.servers[0])
	w := c.Watch(t.ctx, "frag/", clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithCreatedNotify())
	whole := c.Watch(context.WithValue(t.ctx, givenUp{}, "whole"), "frag/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	t.next("created", w)
	t.next("created", whole)
	value := strings.Repeat("f", 400<<10)
	for i := 0; i < 10; i++ {
		t.put(c, fmt.Sprintf("frag/%d", i), value)
	}
	for name, one := range map[string]clientv3.WatchChan{"fragmented": w, "whole": whole} {
		bytes := 0
		for i, e := range t.gather(name, one, 10) {
			if string(e.Kv.Key) != fmt.Sprintf("frag/%d", i) {
				t.fail("%s: %s in the place of %d", name, e.Kv.Key, i)
			}
			bytes += len(e.Kv.Value)
		}
		if bytes != 10*len(value) {
			t.fail("%s: %d bytes", name, bytes)
		}
	}
	r, err := c.Get(t.ctx, "frag/0")
	t.must("get", err)
	old := c.Watch(t.ctx, "frag/", clientv3.WithPrefix(), clientv3.WithFragment(), clientv3.WithRev(r.Kvs[0].ModRevision))
	t.say("fragments: %d events of history", len(t.gather("history", old, 10)))
}

// watchRestartTopic: watches outlive the server's end, and miss nothing, see nothing twice.
func watchRestartTopic(t *topic) {
	m := t.one()
	c := t.client(m)
	t.put(c, "r", "1")
	live := c.Watch(t.ctx, "r", clientv3.WithCreatedNotify())
	t.next("created", live)
	history := c.Watch(t.ctx, "r", clientv3.WithRev(2))
	t.sees("history", history)
	leader := c.Watch(clientv3.WithRequireLeader(t.ctx), "r", clientv3.WithRev(3))
	t.put(c, "r", "2")
	t.sees("live", live)
	t.sees("history", history)
	t.sees("with leader", leader)
	for round := 3; round <= 6; round++ {
		if round%2 == 0 {
			m.stop()
		}
		m.restart()
		other := t.client(m)
		t.put(other, "r", fmt.Sprint(round))
		t.sees("live", live)
		t.sees("history", history)
	}
	r, ok := t.next("with leader", leader)
	t.say("with leader, later: open %t, event or end %t", ok, !ok || len(r.Events) > 0 || r.Canceled)

	// what was compacted while the server was away is told
	slow := c.Watch(t.ctx, "s", clientv3.WithRev(2), clientv3.WithCreatedNotify())
	t.next("created", slow)
	t.put(c, "s", "1")
	t.sees("before", slow)
	t.is("in the end")(c.Get(t.ctx, "r"))
}

// progressTopic: tidings without events, asked for and by themselves.
func progressTopic(t *topic) {
	m := t.one("--experimental-watch-progress-notify-interval=300ms")
	c := t.client(m)
	t.put(c, "p", "1")
	w := c.Watch(t.ctx, "p", clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	t.sees("created", w)
	t.sees("idle", w)
	t.put(c, "other", "1")
	t.until("progress reaches 3", func() bool {
		r, _ := t.next("progress", w)
		if len(r.Events) > 0 || !r.IsProgressNotify() {
			t.fail("not progress: %s", t.show(r))
		}
		return r.Header.Revision == 3
	})
	t.say("progress reached 3")
	t.put(c, "p", "2")
	t.until("the event", func() bool {
		r, _ := t.next("event", w)
		if len(r.Events) > 0 {
			t.say("event: %s", t.show(r))
		}
		return len(r.Events) > 0
	})
	own := context.WithValue(t.ctx, givenUp{}, 1)
	asked := c.Watch(own, "q", clientv3.WithCreatedNotify())
	t.sees("created", asked)
	t.must("request", c.RequestProgress(own))
	t.sees("asked for", asked)
	t.put(c, "elsewhere", "1")
	t.until("asked for reaches 5", func() bool {
		t.must("request", c.RequestProgress(own))
		r, _ := t.next("asked for", asked)
		return r.Header.Revision == 5
	})
	t.say("asked for reached 5")
	// bookmarks go on where they were
	ctx, cancel := context.WithTimeout(t.ctx, 20*time.Second)
	defer cancel()
	again := c.Watch(ctx, "p", clientv3.WithRev(5))
	t.put(c, "p", "3")
	t.sees("from the bookmark", again)
}
