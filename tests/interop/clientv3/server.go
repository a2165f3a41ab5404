package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io/ioutil"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc"
)

// server is one member, as a process.
type server struct {
	t      *topic
	name   string
	scheme string
	client string // host:port
	peer   string // URL
	dir    string
	args   []string
	cmd    *exec.Cmd
	ended  chan struct{}
	log    string
	seen   int64 // bytes of the log at the last start
}

// firstPort is above what services have, and what is below 32768 the kernel gives to nobody who did not ask for it.
const firstPort, lastPort = 30001, 32767

func (t *topic) port() int {
	t.suite.mu.Lock()
	defer t.suite.mu.Unlock()
	for {
		t.ports++
		port := firstPort + t.ports
		if port > lastPort {
			panic("no port is free")
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", t.host, port)); err == nil {
			l.Close()
			return port
		}
	}
}

// starter starts all processes, from one thread: the kernel kills them when that thread ends.
func (s *suite) starter() {
	runtime.LockOSThread()
	for start := range s.start {
		start()
	}
}

// member makes one that does not run yet.
func (t *topic) member(name string, flags ...string) *server {
	s := &server{t: t, name: name, scheme: "http", dir: filepath.Join(t.dir, t.name, name)}
	s.client = fmt.Sprintf("%s:%d", t.host, t.port())
	s.peer = fmt.Sprintf("http://%s:%d", t.host, t.port())
	s.log = s.dir + ".log"
	for _, flag := range flags {
		if strings.HasPrefix(flag, "--cert-file") {
			s.scheme = "https"
		}
	}
	s.args = append([]string{"--name=" + name, "--data-dir=" + s.dir,
		"--listen-client-urls=" + s.url(), "--advertise-client-urls=" + s.url(),
		"--listen-peer-urls=" + s.peer, "--initial-advertise-peer-urls=" + s.peer}, flags...)
	t.must("folder", os.MkdirAll(filepath.Dir(s.dir), 0700))
	t.servers = append(t.servers, s)
	return s
}

func (s *server) url() string { return s.scheme + "://" + s.client }

// environment is ours without etcd's settings.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "ETCD") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func (s *server) run() {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0600)
	s.t.must("log", err)
	defer log.Close()
	s.seen, _ = log.Seek(0, 2)
	s.cmd = exec.Command(s.t.server, s.args...)
	s.cmd.Env = environment()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.t.start <- func() { started <- s.cmd.Start() }
	s.t.must("start "+s.name, <-started)
	ended := make(chan struct{})
	s.ended = ended
	go func(cmd *exec.Cmd) { cmd.Wait(); close(ended) }(s.cmd)
}

// ready waits until the server says so.
func (s *server) ready() {
	s.t.until(s.name+" is ready", func() bool {
		if s.isDown() {
			s.t.fail("%s does not start", s.name)
		}
		log, err := ioutil.ReadFile(s.log)
		return err == nil && bytes.Contains(log[s.seen:], []byte("ready to serve client requests"))
	})
}

func (s *server) isDown() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (s *server) signal(sig syscall.Signal) { _ = s.cmd.Process.Signal(sig) }

// standStill returns when each of its threads does.
func (s *server) standStill() {
	s.signal(syscall.SIGSTOP)
	s.t.until(s.name+" stands still", func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		for _, path := range stats {
			stat, err := ioutil.ReadFile(path)
			state := bytes.LastIndexByte(stat, ')') + 2 // behind the name
			if err != nil || state >= len(stat) || stat[state] != 'T' {
				return false
			}
		}
		return len(stats) != 0
	})
}

func (s *server) goOn() { s.signal(syscall.SIGCONT) }

// kill ends it without a word to anyone; fine when it does not run.
func (s *server) kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

// stop asks it to end.
func (s *server) stop() {
	s.signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-s.t.ctx.Done():
		s.t.fail("%s does not end", s.name)
	}
}

func (s *server) restart() {
	s.kill()
	s.run()
	s.ready()
}

func (s *server) tail() string {
	log, _ := ioutil.ReadFile(s.log)
	lines := strings.SplitAfter(string(log), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return strings.Join(lines, "")
}

// one starts a cluster of one.
func (t *topic) one(flags ...string) *server { return t.cluster(1, flags...)[0] }

// cluster starts one of n members, m1, m2, ...
func (t *topic) cluster(n int, flags ...string) []*server {
	var members []*server
	var initial []string
	for i := 1; i <= n; i++ {
		m := t.member(fmt.Sprintf("m%d", i), flags...)
		members = append(members, m)
		initial = append(initial, m.name+"="+m.peer)
	}
	for _, m := range members {
		m.args = append(m.args, "--initial-cluster="+strings.Join(initial, ","), "--initial-cluster-token="+t.name)
		m.run()
	}
	for _, m := range members {
		m.ready()
	}
	return members
}

// config of a client of these members; change what you like.
func (t *topic) config(members ...*server) clientv3.Config {
	quiet := zap.NewProductionConfig()
	quiet.Level = zap.NewAtomicLevelAt(zapcore.FatalLevel)
	config := clientv3.Config{DialTimeout: 20 * time.Second, LogConfig: &quiet,
		DialOptions: []grpc.DialOption{grpc.WithBlock(), grpc.WithChainUnaryInterceptor(t.unaryCodes), grpc.WithChainStreamInterceptor(t.streamCodes)}}
	for _, m := range members {
		config.Endpoints = append(config.Endpoints, m.url())
	}
	return config
}

func (t *topic) open(config clientv3.Config) *clientv3.Client {
	c, err := clientv3.New(config)
	t.must("client", err)
	t.closers = append(t.closers, func() { c.Close() })
	return c
}

func (t *topic) client(members ...*server) *clientv3.Client { return t.open(t.config(members...)) }

// certificates for this run's address, and a client of that name.
func (t *topic) certificates(client string) (flags []string, config *tls.Config) {
	dir := filepath.Join(t.dir, t.name, "pki")
	out, err := exec.Command(t.pki, "cluster", "-q", "--dir", dir, "--member", "m1=localhost,"+t.host, "--client", client).CombinedOutput()
	if err != nil {
		t.fail("etcd-pki: %v: %s", err, out)
	}
	etc := filepath.Join(dir, "m1", "etcd")
	flags = []string{"--cert-file=" + etc + "/server.crt", "--key-file=" + etc + "/server.key",
		"--trusted-ca-file=" + etc + "/ca.crt", "--client-cert-auth"}
	return flags, t.tlsConfig(etc+"/ca.crt", filepath.Join(dir, "clients", client+".crt"), filepath.Join(dir, "clients", client+".key"))
}

// within is a context for one call.
func (t *topic) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.ctx, d)
	t.closers = append(t.closers, cancel)
	return ctx
}
