// Command clientv3 drives etcd's Go client, as Debian ships it, against the servers that it starts, and prints what
// the client saw. Nothing in what it prints depends on the run: revisions count from 1, and identifiers are given
// names in the order in which they appear. So the output of one server can be compared with that of another, line by
// line. See ../clientv3_interop.sh, which does that.
//
// Each topic has servers of its own, and all topics run at once: what takes time is waiting for leases to expire and
// members to be missed. No topic waits for a time to pass: each waits for what must happen, with a bound.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/grpclog"
)

// topicSeconds bounds a topic, with its servers' start.
const topicSeconds = 100

// suite is what all topics share.
type suite struct {
	server string // etcd, or a server that wants to be like it
	pki    string // makes certificates
	dir    string // everything on disk is under it
	host   string // loopback address of this run's servers; no other run has it
	start  chan func()
	loud   bool
	begin  time.Time
	mu     sync.Mutex
	ports  int
	errors map[string]bool // names of rpctypes that were seen
	codes  map[string]bool // errors whose code is not the one that belongs to their text
}

// topic is one story with servers of its own.
type topic struct {
	*suite
	name    string
	ctx     context.Context
	mu      sync.Mutex // watchers print too
	out     bytes.Buffer
	ids     map[uint64]string // names of what the server calls by number
	leases  int
	servers []*server
	closers []func()
}

// given up: the topic cannot go on; what it says is in its output already.
type givenUp struct{}

// topics, in the order in which they are printed.
var topics = []struct {
	name string
	run  func(*topic)
}{
	{"kv", kvTopic},
	{"pages", pagesTopic},
	{"txn", txnTopic},
	{"stm", stmTopic},
	{"watch", watchTopic},
	{"watch-restart", watchRestartTopic},
	{"progress", progressTopic},
	{"lease", leaseTopic},
	{"lease-restart", leaseRestartTopic},
	{"mutex", mutexTopic},
	{"election", electionTopic},
	{"namespace", namespaceTopic},
	{"ordering", orderingTopic},
	{"leasing", leasingTopic},
	{"mirror", mirrorTopic},
	{"naming", namingTopic},
	{"maintenance", maintenanceTopic},
	{"alarms", alarmsTopic},
	{"members", membersTopic},
	{"cluster", clusterTopic},
	{"leader", leaderTopic},
	{"timeout", timeoutTopic},
	{"auth", authTopic},
	{"auth-disabled", authDisabledTopic},
	{"auth-tokens", authTokensTopic},
	{"tls", tlsTopic},
	{"limits", limitsTopic},
	{"contexts", contextsTopic},
	{"keepalive", keepaliveTopic},
}

func (t *topic) say(format string, args ...interface{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	fmt.Fprintln(&t.out, line)
	if t.loud {
		fmt.Fprintf(os.Stderr, "%6.2f %s: %s\n", time.Since(t.begin).Seconds(), t.name, line)
	}
}

// fail prints and ends the topic.
func (t *topic) fail(format string, args ...interface{}) {
	t.say("FAILED: "+format, args...)
	panic(givenUp{})
}

// must ends the topic when what everything after it needs has failed.
func (t *topic) must(what string, err error) {
	if err != nil {
		t.fail("%s: %s", what, t.show(err))
	}
}

// until tries again and again until ok, for as long as the topic may run.
func (t *topic) until(what string, ok func() bool) {
	for !ok() {
		select {
		case <-t.ctx.Done():
			t.fail("waited in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *suite) run(name string, body func(*topic)) (t *topic, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), topicSeconds*time.Second)
	t = &topic{suite: s, name: name, ctx: ctx, ids: map[uint64]string{}}
	begin := time.Now()
	defer func() {
		for i := len(t.closers) - 1; i >= 0; i-- {
			t.closers[i]()
		}
		cancel()
		for _, server := range t.servers {
			server.kill()
		}
		took = time.Since(begin)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			r := recover()
			if _, known := r.(givenUp); r != nil && !known {
				t.say("FAILED: %v\n%s", r, debug.Stack())
			}
		}()
		body(t)
	}()
	select {
	case <-ended:
	case <-time.After((topicSeconds + 5) * time.Second): // it waits for something that knows no bound
		t.say("FAILED: stuck after this line")
	}
	return t, 0
}

func main() {
	s := &suite{begin: time.Now(), start: make(chan func()), errors: map[string]bool{}, codes: map[string]bool{}}
	only := flag.String("run", "", "run the topics that match this expression")
	times := flag.Bool("times", false, "say on stderr how long each topic took")
	flag.BoolVar(&s.loud, "v", false, "say everything on stderr when it happens")
	flag.StringVar(&s.server, "server", "", "the server's program")
	flag.StringVar(&s.pki, "pki", "", "etcd-pki")
	flag.StringVar(&s.dir, "dir", "", "an empty folder")
	flag.Parse()
	chosen, err := regexp.Compile("^(" + *only + ")$")
	if err != nil || s.server == "" || s.pki == "" || s.dir == "" {
		flag.Usage()
		os.Exit(2)
	}
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(devNull{}, devNull{}, devNull{}))
	pid := os.Getpid()
	s.host = fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&63, pid>>8&255, 1+pid&253)
	go s.starter()

	stop := make(chan os.Signal, 1) // the servers end with us: see server.run
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() { <-stop; os.Exit(1) }()

	results := make([]*topic, len(topics))
	var wait sync.WaitGroup
	for i, one := range topics {
		if *only != "" && !chosen.MatchString(one.name) {
			continue
		}
		wait.Add(1)
		go func(i int, name string, run func(*topic)) {
			defer wait.Done()
			var took time.Duration
			results[i], took = s.run(name, run)
			if *times {
				fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", took.Seconds(), name)
			}
		}(i, one.name, one.run)
	}
	wait.Wait()
	status := 0
	for _, t := range results {
		if t != nil {
			fmt.Printf("== %s\n%s", t.name, t.out.String())
			if strings.Contains(t.out.String(), "FAILED") {
				status = 1
				for _, server := range t.servers {
					fmt.Fprintf(os.Stderr, "-- %s %s, the end of its log\n%s", t.name, server.name, server.tail())
				}
			}
		}
	}
	if *only == "" {
		s.summary()
	}
	os.Exit(status)
}

// summary says which of the client's errors were never met, and which came with a wrong code.
func (s *suite) summary() {
	var missed, wrong []string
	for _, known := range knownErrors {
		if !s.errors[known.name] {
			missed = append(missed, known.name)
		}
	}
	for text := range s.codes {
		wrong = append(wrong, text)
	}
	sort.Strings(wrong)
	fmt.Printf("== errors\nmet: %d of %d\nnot met: %s\n", len(knownErrors)-len(missed), len(knownErrors), strings.Join(missed, " "))
	for _, text := range wrong {
		fmt.Printf("code: %s\n", text)
	}
}

type devNull struct{}

func (devNull) Write(p []byte) (int, error) { return len(p), nil }

// folder makes one of the topic's own.
func (t *topic) folder(name string) string {
	dir := filepath.Join(t.dir, t.name, name)
	t.must("folder", os.MkdirAll(dir, 0700))
	return dir
}
