package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/ioutil"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// as is a client of that user.
func (t *topic) as(m *server, user, password string) (*clientv3.Client, error) {
	config := t.config(m)
	config.Username, config.Password = user, password
	c, err := clientv3.New(config)
	if err == nil {
		t.closers = append(t.closers, func() { c.Close() })
	}
	return c, err
}

func (t *topic) mustAs(m *server, user, password string) *clientv3.Client {
	c, err := t.as(m, user, password)
	t.must("client of "+user, err)
	return c
}

// plain is a connection without the client's retries and tokens.
func (t *topic) plain(m *server) *grpc.ClientConn {
	conn, err := grpc.DialContext(t.ctx, m.client, grpc.WithInsecure(), grpc.WithBlock())
	t.must("dial", err)
	t.closers = append(t.closers, func() { conn.Close() })
	return conn
}

func (t *topic) enable(c *clientv3.Client) {
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(t.ctx, "root", "rootpw"); return err },
		func() error { _, err := c.RoleAdd(t.ctx, "root"); return err },
		func() error { _, err := c.UserGrantRole(t.ctx, "root", "root"); return err },
		func() error { _, err := c.AuthEnable(t.ctx); return err },
	} {
		t.must("enable", step())
	}
}

// authTopic: users, roles, permissions, and everything that is refused.
func authTopic(t *topic) {
	m := t.one("--bcrypt-cost=4")
	c := t.client(m)
	ctx := t.ctx
	t.is("enable without root")(c.AuthEnable(ctx))
	t.is("disable what is not enabled")(c.AuthDisable(ctx))
	_, err := pb.NewAuthClient(t.plain(m)).Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: "x"})
	t.is("authenticate when there is no need")("done", err)
	tolerated := t.mustAs(m, "root", "whatever")
	t.is("a client with a user, when there is no need")(tolerated.Put(ctx, "free", "1"))
	t.is("add root")(c.UserAdd(ctx, "root", "rootpw"))
	t.is("enable without root's role")(c.AuthEnable(ctx))
	t.is("grant a role that is not")(c.UserGrantRole(ctx, "root", "root"))
	t.is("add role root")(c.RoleAdd(ctx, "root"))
	t.is("grant it to nobody")(c.UserGrantRole(ctx, "nobody", "root"))
	t.is("grant it to root")(c.UserGrantRole(ctx, "root", "root"))
	t.is("add root again")(c.UserAdd(ctx, "root", "rootpw"))
	t.is("add a role again")(c.RoleAdd(ctx, "root"))
	t.is("add a user without a name")(c.UserAdd(ctx, "", "x"))
	t.is("add a role without a name")(c.RoleAdd(ctx, ""))
	t.is("add a user without a password")(c.UserAdd(ctx, "blank", ""))
	t.is("add a user who has no password")(c.UserAddWithOptions(ctx, "certified", "", &clientv3.UserAddOptions{NoPassword: true}))
	t.is("add u")(c.UserAdd(ctx, "u", "upw"))
	t.is("add v")(c.UserAdd(ctx, "v", "vpw"))
	t.is("add role r")(c.RoleAdd(ctx, "r"))
	grant := func(key, end string, kind clientv3.PermissionType) {
		t.is(fmt.Sprintf("permit %q %q", key, end))(c.RoleGrantPermission(ctx, "r", key, end, kind))
	}
	grant("rw/", clientv3.GetPrefixRangeEnd("rw/"), clientv3.PermissionType(clientv3.PermReadWrite))
	grant("read", "", clientv3.PermissionType(clientv3.PermRead))
	grant("write", "", clientv3.PermissionType(clientv3.PermWrite))
	grant("read", "", clientv3.PermissionType(clientv3.PermRead))
	grant("z", "\x00", clientv3.PermissionType(clientv3.PermRead))
	grant("b", "a", clientv3.PermissionType(clientv3.PermRead))
	t.is("permit to a role that is not")(c.RoleGrantPermission(ctx, "none", "k", "", clientv3.PermissionType(clientv3.PermRead)))
	t.is("role r")(c.RoleGet(ctx, "r"))
	t.is("role none")(c.RoleGet(ctx, "none"))
	t.is("revoke what was not permitted")(c.RoleRevokePermission(ctx, "r", "none", ""))
	t.is("revoke from a role that is not")(c.RoleRevokePermission(ctx, "none", "k", ""))
	t.is("revoke")(c.RoleRevokePermission(ctx, "r", "z", "\x00"))
	t.is("grant r to u")(c.UserGrantRole(ctx, "u", "r"))
	t.is("grant r to u again")(c.UserGrantRole(ctx, "u", "r"))
	t.is("take from v what it has not")(c.UserRevokeRole(ctx, "v", "r"))
	t.is("take from nobody")(c.UserRevokeRole(ctx, "nobody", "r"))
	t.is("user u")(c.UserGet(ctx, "u"))
	t.is("user nobody")(c.UserGet(ctx, "nobody"))
	t.is("users")(c.UserList(ctx))
	t.is("roles")(c.RoleList(ctx))
	t.is("delete nobody")(c.UserDelete(ctx, "nobody"))
	t.is("delete no role")(c.RoleDelete(ctx, "none"))
	t.is("password of nobody")(c.UserChangePassword(ctx, "nobody", "x"))
	t.is("enable")(c.AuthEnable(ctx))
	t.is("enable again")(c.AuthEnable(ctx))

	// nobody, the wrong password, the wrong user
	t.is("put as nobody")(c.Put(ctx, "k", "1"))
	t.is("get as nobody")(c.Get(ctx, "k"))
	t.is("users as nobody")(c.UserList(ctx))
	t.is("members as nobody")(c.MemberList(ctx))
	t.is("grant a lease as nobody")(c.Grant(ctx, 1000))
	for _, who := range [][2]string{{"u", "wrong"}, {"nobody", "x"}, {"certified", "x"}, {"blank", "x"}} {
		_, err := t.as(m, who[0], who[1])
		t.is("client of "+who[0]+" with "+who[1])("made", err)
	}
	_, err = pb.NewAuthClient(t.plain(m)).Authenticate(ctx, &pb.AuthenticateRequest{})
	t.is("authenticate without a name")("done", err)
	root, u, v := t.mustAs(m, "root", "rootpw"), t.mustAs(m, "u", "upw"), t.mustAs(m, "v", "vpw")
	t.is("root puts")(root.Put(ctx, "k", "1"))
	t.is("u puts into its range")(u.Put(ctx, "rw/1", "1"))
	t.is("u puts what it may write")(u.Put(ctx, "write", "1"))
	t.is("u puts what it may read")(u.Put(ctx, "read", "1"))
	t.is("u puts with the previous what it may write")(u.Put(ctx, "write", "1", clientv3.WithPrevKV()))
	t.is("u gets what it may write")(u.Get(ctx, "write"))
	t.is("u gets what it may read")(u.Get(ctx, "read"))
	t.is("u gets its range")(u.Get(ctx, "rw/", clientv3.WithPrefix()))
	t.is("u gets more than its range")(u.Get(ctx, "rw/", clientv3.WithFromKey()))
	t.is("u gets everything")(u.Get(ctx, "", clientv3.WithPrefix()))
	t.is("u deletes in its range")(u.Delete(ctx, "rw/", clientv3.WithPrefix(), clientv3.WithPrevKV()))
	t.is("u deletes elsewhere")(u.Delete(ctx, "k"))
	t.is("u compacts")(u.Compact(ctx, 1))
	t.is("v gets")(v.Get(ctx, "read"))
	t.is("u's txn within")(u.Txn(ctx).If(clientv3.Compare(clientv3.Version("read"), "=", 0)).Then(clientv3.OpPut("rw/2", "1")).Else(clientv3.OpGet("read")).Commit())
	t.is("u's txn that compares elsewhere")(u.Txn(ctx).If(clientv3.Compare(clientv3.Version("k"), "=", 0)).Then(clientv3.OpPut("rw/2", "1")).Commit())
	t.is("u's txn that does not come to puts elsewhere")(u.Txn(ctx).Then(clientv3.OpPut("rw/2", "1")).Else(clientv3.OpPut("k", "1")).Commit())
	t.is("u's txn, nested, puts elsewhere")(u.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("k", "1")}, nil)).Commit())
	t.closes("u watches elsewhere", u.Watch(ctx, "k"))
	t.closes("nobody watches", c.Watch(ctx, "k"))
	own, cancel := context.WithCancel(ctx)
	w := u.Watch(own, "rw/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	t.next("created", w)
	t.is("root puts for u")(root.Put(ctx, "rw/3", "1"))
	t.sees("u watches its range", w)
	cancel()
	t.is("u adds a user")(u.UserAdd(ctx, "x", "x"))
	t.is("u lists users")(u.UserList(ctx))
	t.is("u looks at itself")(u.UserGet(ctx, "u"))
	t.is("u looks at v")(u.UserGet(ctx, "v"))
	t.is("u looks at its role")(u.RoleGet(ctx, "r"))
	t.is("u looks at another role")(u.RoleGet(ctx, "root"))
	t.is("u disables")(u.AuthDisable(ctx))
	_, err = u.Status(ctx, m.url())
	t.is("u asks for the status")("done", err)
	_, err = u.Defragment(ctx, m.url()) // etcd 3.5 says it without a code; 3.6 and we with it
	t.say("u defragments: %t", err != nil && strings.Contains(err.Error(), "permission denied"))
	t.is("u lists members")(u.MemberList(ctx))
	t.is("u adds a member")(u.MemberAdd(ctx, []string{"http://127.0.0.1:1"}))
	t.is("u lists alarms")(u.AlarmList(ctx))
	_, err = u.MoveLeader(ctx, 1)
	t.is("u moves the leader")("done", err)
	lease, err := root.Grant(ctx, 1000)
	t.must("grant", err)
	t.is("root puts with a lease")(root.Put(ctx, "k", "leased", clientv3.WithLease(lease.ID)))
	t.is("u puts with root's lease")(u.Put(ctx, "rw/4", "1", clientv3.WithLease(lease.ID)))
	t.is("u revokes root's lease")(u.Revoke(ctx, lease.ID))
	t.is("u asks for root's lease's keys")(u.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys()))
	t.is("u keeps root's lease alive")(u.KeepAliveOnce(ctx, lease.ID))

	// root has to stay
	t.is("root deletes root")(root.UserDelete(ctx, "root"))
	t.is("root deletes root's role")(root.RoleDelete(ctx, "root"))
	t.is("root takes its role from itself")(root.UserRevokeRole(ctx, "root", "root"))
	t.is("role r is taken away")(root.RoleDelete(ctx, "r"))
	t.is("u puts, without it")(u.Put(ctx, "rw/1", "1"))
	t.is("u")(root.UserGet(ctx, "u"))
	t.is("disable")(root.AuthDisable(ctx))
	t.is("nobody puts")(c.Put(ctx, "k", "2"))
	t.is("u, with a token of before, puts")(u.Put(ctx, "k", "3"))
}

// authDisabledTopic: what a client that has a token does when nobody asks for it any more, and when they do again.
func authDisabledTopic(t *topic) {
	m := t.one("--bcrypt-cost=4")
	c := t.client(m)
	t.enable(c)
	root := t.mustAs(m, "root", "rootpw")
	for i := 0; i < 3; i++ {
		t.is("root puts")(root.Put(t.ctx, "k", "1"))
		t.is("nobody puts")(c.Put(t.ctx, "k", "1"))
		t.is("disable")(root.AuthDisable(t.ctx))
		t.is("root puts")(root.Put(t.ctx, "k", "1"))
		t.is("nobody puts")(c.Put(t.ctx, "k", "1"))
		t.is("enable")(c.AuthEnable(t.ctx))
	}
}

// authTokensTopic: tokens that are no more are fetched again; what hangs on them goes on.
func authTokensTopic(t *topic) {
	m := t.one("--bcrypt-cost=4", "--auth-token-ttl=4")
	ctx := t.ctx
	t.enable(t.client(m))
	root := t.mustAs(m, "root", "rootpw")
	t.is("root puts")(root.Put(ctx, "k", "1"))
	conn := t.plain(m)
	auth, kv := pb.NewAuthClient(conn), pb.NewKVClient(conn)
	get := func(token string) error {
		_, err := kv.Range(metadata.AppendToOutgoingContext(ctx, "token", token), &pb.RangeRequest{Key: []byte("k")})
		return err
	}
	t.is("a token that never was")("answered", get("nonsense"))
	t.is("no token")("answered", get(""))
	w := root.Watch(ctx, "k", clientv3.WithCreatedNotify())
	t.next("created", w)
	lease, err := root.Grant(ctx, 60)
	t.must("grant", err)
	renewals, err := root.KeepAlive(ctx, lease.ID)
	t.must("keep alive", err)
	<-renewals
	r, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: "rootpw"})
	t.must("authenticate", err)
	t.is("a fresh token")("answered", get(r.Token))
	idle := t.mustAs(m, "root", "rootpw") // its token is older than all of these
	var tokens []string
	for i := 0; i < 40; i++ {
		r, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: "rootpw"})
		t.must("authenticate", err)
		tokens = append(tokens, r.Token)
	}
	t.must("each is used once, for use renews it", func() error {
		for _, token := range tokens {
			if err := get(token); err != nil {
				t.is("a token that has expired")("answered", err)
				return nil
			}
			<-time.After(250 * time.Millisecond)
		}
		return fmt.Errorf("no token expires")
	}())
	t.is("a client whose token has expired gets")(idle.Get(ctx, "k"))
	for i := 0; i < 2; i++ {
		m.restart()
		t.is("root puts after the restart")(root.Put(ctx, "k", fmt.Sprint(i)))
		for seen := ""; seen != fmt.Sprint(i); {
			events := t.gather("its watch", w, 1)
			seen = string(events[len(events)-1].Kv.Value)
		}
		t.say("its watch saw that")
	}
	t.is("its lease")(root.TimeToLive(ctx, lease.ID))

	// a user who is changed
	_, err = root.UserAdd(ctx, "u", "one")
	t.must("add", err)
	_, err = root.RoleAdd(ctx, "r")
	t.must("add", err)
	_, err = root.RoleGrantPermission(ctx, "r", "k", "", clientv3.PermissionType(clientv3.PermReadWrite))
	t.must("permit", err)
	u := t.mustAs(m, "u", "one")
	t.is("u gets")(u.Get(ctx, "k"))
	_, err = root.UserGrantRole(ctx, "u", "r")
	t.must("grant", err)
	t.is("u gets, with a role")(u.Get(ctx, "k"))
	t.is("password")(root.UserChangePassword(ctx, "u", "two"))
	t.is("u gets, with the old password")(u.Get(ctx, "k"))
	t.is("u again")(t.mustAs(m, "u", "two").Get(ctx, "k"))
	u = t.mustAs(m, "u", "two")
	t.is("u is deleted")(root.UserDelete(ctx, "u"))
	t.is("u gets, deleted")(u.Get(ctx, "k"))

	// tokens that are signed carry the revision of users and roles
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	t.must("key", err)
	dir := t.folder("jwt")
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		t.must("key", ioutil.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0600))
		return path
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	t.must("key", err)
	signed := t.member("signed", "--bcrypt-cost=4", "--auth-token=jwt,pub-key="+write("pub", "PUBLIC KEY", public)+",priv-key="+
		write("priv", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))+",sign-method=RS256,ttl=10m")
	signed.args = append(signed.args, "--initial-cluster=signed="+signed.peer)
	signed.run()
	signed.ready()
	t.enable(t.client(signed))
	root = t.mustAs(signed, "root", "rootpw")
	conn = t.plain(signed)
	auth, kv = pb.NewAuthClient(conn), pb.NewKVClient(conn)
	r, err = auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "root", Password: "rootpw"})
	t.must("authenticate", err)
	t.is("signed, root puts")(root.Put(ctx, "k", "1"))
	t.is("its token gets")("answered", get(r.Token))
	t.is("signed, root adds")(root.RoleAdd(ctx, "r"))
	t.is("its token of before gets")("answered", get(r.Token))
	_, err = kv.Put(metadata.AppendToOutgoingContext(ctx, "token", r.Token), &pb.PutRequest{Key: []byte("k")})
	t.is("its token of before puts")("answered", err)
	t.is("signed, root puts with a new one")(root.Put(ctx, "k", "2"))
	t.is("a token that is cut off")("answered", get(r.Token[:len(r.Token)-4]))
	t.until("the error is known", func() bool { return get("x") != nil && rpctypes.Error(get("x")) == rpctypes.ErrInvalidAuthToken })
}
