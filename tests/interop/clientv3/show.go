package main

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strings"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"go.etcd.io/etcd/mvcc/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// knownErrors: what a program can compare an error with.
var knownErrors = []struct {
	name string
	err  error
}{
	{"ErrEmptyKey", rpctypes.ErrEmptyKey}, {"ErrKeyNotFound", rpctypes.ErrKeyNotFound},
	{"ErrValueProvided", rpctypes.ErrValueProvided}, {"ErrLeaseProvided", rpctypes.ErrLeaseProvided},
	{"ErrTooManyOps", rpctypes.ErrTooManyOps}, {"ErrDuplicateKey", rpctypes.ErrDuplicateKey},
	{"ErrCompacted", rpctypes.ErrCompacted}, {"ErrFutureRev", rpctypes.ErrFutureRev},
	{"ErrNoSpace", rpctypes.ErrNoSpace}, {"ErrLeaseNotFound", rpctypes.ErrLeaseNotFound},
	{"ErrLeaseExist", rpctypes.ErrLeaseExist}, {"ErrLeaseTTLTooLarge", rpctypes.ErrLeaseTTLTooLarge},
	{"ErrMemberExist", rpctypes.ErrMemberExist}, {"ErrPeerURLExist", rpctypes.ErrPeerURLExist},
	{"ErrMemberNotEnoughStarted", rpctypes.ErrMemberNotEnoughStarted},
	{"ErrMemberBadURLs", rpctypes.ErrMemberBadURLs}, {"ErrMemberNotFound", rpctypes.ErrMemberNotFound},
	{"ErrMemberNotLearner", rpctypes.ErrMemberNotLearner},
	{"ErrMemberLearnerNotReady", rpctypes.ErrMemberLearnerNotReady},
	{"ErrTooManyLearners", rpctypes.ErrTooManyLearners}, {"ErrRequestTooLarge", rpctypes.ErrRequestTooLarge},
	{"ErrTooManyRequests", rpctypes.ErrTooManyRequests}, {"ErrRootUserNotExist", rpctypes.ErrRootUserNotExist},
	{"ErrRootRoleNotExist", rpctypes.ErrRootRoleNotExist}, {"ErrUserAlreadyExist", rpctypes.ErrUserAlreadyExist},
	{"ErrUserEmpty", rpctypes.ErrUserEmpty}, {"ErrUserNotFound", rpctypes.ErrUserNotFound},
	{"ErrRoleAlreadyExist", rpctypes.ErrRoleAlreadyExist}, {"ErrRoleNotFound", rpctypes.ErrRoleNotFound},
	{"ErrRoleEmpty", rpctypes.ErrRoleEmpty}, {"ErrAuthFailed", rpctypes.ErrAuthFailed},
	{"ErrPermissionDenied", rpctypes.ErrPermissionDenied}, {"ErrRoleNotGranted", rpctypes.ErrRoleNotGranted},
	{"ErrPermissionNotGranted", rpctypes.ErrPermissionNotGranted},
	{"ErrAuthNotEnabled", rpctypes.ErrAuthNotEnabled}, {"ErrInvalidAuthToken", rpctypes.ErrInvalidAuthToken},
	{"ErrAuthOldRevision", rpctypes.ErrAuthOldRevision}, {"ErrInvalidAuthMgmt", rpctypes.ErrInvalidAuthMgmt},
	{"ErrNoLeader", rpctypes.ErrNoLeader}, {"ErrNotLeader", rpctypes.ErrNotLeader},
	{"ErrLeaderChanged", rpctypes.ErrLeaderChanged}, {"ErrNotCapable", rpctypes.ErrNotCapable},
	{"ErrStopped", rpctypes.ErrStopped}, {"ErrTimeout", rpctypes.ErrTimeout},
	{"ErrTimeoutDueToLeaderFail", rpctypes.ErrTimeoutDueToLeaderFail},
	{"ErrTimeoutDueToConnectionLost", rpctypes.ErrTimeoutDueToConnectionLost},
	{"ErrTimeoutWaitAppliedIndex", rpctypes.ErrTimeoutWaitAppliedIndex},
	{"ErrUnhealthy", rpctypes.ErrUnhealthy}, {"ErrCorrupt", rpctypes.ErrCorrupt},
	{"ErrBadLeaderTransferee", rpctypes.ErrBadLeaderTransferee},
}

// is prints what a call returned: t.is("put a")(c.Put(ctx, "a", "1")).
func (t *topic) is(what string) func(interface{}, error) {
	return func(answer interface{}, err error) {
		if err != nil {
			t.say("%s: %s", what, t.show(err))
		} else {
			t.say("%s: %s", what, t.show(answer))
		}
	}
}

// showError gives an error the name by which a program knows it, else its code and text.
func (t *topic) showError(err error) string {
	switch err {
	case context.Canceled:
		return "error context.Canceled"
	case context.DeadlineExceeded:
		return "error context.DeadlineExceeded"
	case io.EOF:
		return "error EOF"
	}
	for _, known := range knownErrors {
		if rpctypes.Error(err) == known.err {
			t.suite.mu.Lock()
			t.errors[known.name] = true
			t.suite.mu.Unlock()
			return "error " + known.name
		}
	}
	text := strings.ReplaceAll(status.Convert(err).Message(), t.host, "HOST")
	return fmt.Sprintf("error %s: %s", status.Code(err), text)
}

// noteCode watches what the client hides: it goes by the text and puts in the code that belongs to it.
func (t *topic) noteCode(method string, err error) {
	if err == nil || err == io.EOF {
		return
	}
	mapped, ok := rpctypes.Error(err).(rpctypes.EtcdError)
	if mapped == rpctypes.ErrMemberNotEnoughStarted { // etcd 3.5 says it without a code; 3.6 and we with it
		return
	}
	if ok && status.Code(err) != mapped.Code() {
		t.suite.mu.Lock()
		t.codes[fmt.Sprintf("%s %s: %s", method, status.Code(err), mapped.Error())] = true
		t.suite.mu.Unlock()
	}
}

func (t *topic) unaryCodes(ctx context.Context, method string, req, reply interface{}, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	t.noteCode(method, err)
	return err
}

func (t *topic) streamCodes(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return stream, err
	}
	return &codeStream{stream, t, method}, nil
}

type codeStream struct {
	grpc.ClientStream
	t      *topic
	method string
}

func (s *codeStream) RecvMsg(m interface{}) error {
	err := s.ClientStream.RecvMsg(m)
	s.t.noteCode(s.method, err)
	return err
}

// id gives a number of the server's a name: the one it has, or the next.
func (t *topic) id(id uint64) string {
	if id == 0 {
		return "0"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids[id] == "" {
		t.leases++
		t.ids[id] = fmt.Sprintf("L%d", t.leases)
	}
	return t.ids[id]
}

func (t *topic) call(id uint64, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids[id] = name
}

// learn the members' names.
func (t *topic) learn(c *clientv3.Client) map[string]uint64 {
	r, err := c.MemberList(t.ctx)
	t.must("member list", err)
	ids := map[string]uint64{}
	for _, m := range r.Members {
		if m.Name != "" {
			t.call(m.ID, m.Name)
			ids[m.Name] = m.ID
		}
	}
	return ids
}

func (t *topic) header(h *pb.ResponseHeader) string {
	if h == nil {
		return "no header"
	}
	s := fmt.Sprintf("@%d", h.Revision)
	if h.ClusterId == 0 || h.MemberId == 0 || h.RaftTerm == 0 {
		s += fmt.Sprintf(" (cluster %t member %t term %t)", h.ClusterId != 0, h.MemberId != 0, h.RaftTerm != 0)
	}
	return s
}

func (t *topic) kv(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "none"
	}
	value := string(kv.Value)
	if len(value) > 40 {
		value = fmt.Sprintf("%d bytes", len(value))
	}
	s := fmt.Sprintf("%s=%s/c%d/m%d/v%d", kv.Key, value, kv.CreateRevision, kv.ModRevision, kv.Version)
	if kv.Lease != 0 {
		s += "/" + t.id(uint64(kv.Lease))
	}
	return s
}

func (t *topic) kvs(kvs []*mvccpb.KeyValue) string {
	var all []string
	for _, kv := range kvs {
		all = append(all, t.kv(kv))
	}
	return "[" + strings.Join(all, " ") + "]"
}

func (t *topic) events(events []*clientv3.Event) string {
	var all []string
	for _, e := range events {
		s := e.Type.String() + " " + t.kv(e.Kv)
		if e.IsCreate() {
			s += " new"
		}
		if e.PrevKv != nil {
			s += " was " + t.kv(e.PrevKv)
		}
		all = append(all, s)
	}
	return "{" + strings.Join(all, "; ") + "}"
}

func (t *topic) members(members []*pb.Member) string {
	var all []string
	for _, m := range members {
		s := m.Name
		if s == "" {
			s = "(not started)"
		}
		if m.IsLearner {
			s += " learner"
		}
		all = append(all, fmt.Sprintf("%s peers=%d clients=%d", s, len(m.PeerURLs), len(m.ClientURLs)))
	}
	sort.Strings(all)
	return "[" + strings.Join(all, ", ") + "]"
}

func (t *topic) alarms(alarms []*pb.AlarmMember) string {
	var all []string
	for _, a := range alarms {
		all = append(all, t.id(a.MemberID)+" "+a.Alarm.String())
	}
	sort.Strings(all)
	return "[" + strings.Join(all, ", ") + "]"
}

func permissions(r *clientv3.AuthRoleGetResponse) string {
	var all []string
	for _, p := range r.Perm {
		all = append(all, fmt.Sprintf("%s %q %q", p.PermType, p.Key, p.RangeEnd))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func (t *topic) show(answer interface{}) string {
	switch r := answer.(type) {
	case error:
		return t.showError(r)
	case string:
		return r
	case *clientv3.PutResponse:
		s := t.header(r.Header)
		if r.PrevKv != nil {
			s += " was " + t.kv(r.PrevKv)
		}
		return s
	case *clientv3.GetResponse:
		s := fmt.Sprintf("%s %d %s", t.header(r.Header), r.Count, t.kvs(r.Kvs))
		if r.More {
			s += " more"
		}
		return s
	case *clientv3.DeleteResponse:
		s := fmt.Sprintf("%s %d deleted", t.header(r.Header), r.Deleted)
		if r.PrevKvs != nil {
			s += " were " + t.kvs(r.PrevKvs)
		}
		return s
	case *clientv3.TxnResponse:
		var all []string
		for _, one := range r.Responses {
			switch {
			case one.GetResponsePut() != nil:
				all = append(all, "put "+t.show((*clientv3.PutResponse)(one.GetResponsePut())))
			case one.GetResponseRange() != nil:
				all = append(all, "get "+t.show((*clientv3.GetResponse)(one.GetResponseRange())))
			case one.GetResponseDeleteRange() != nil:
				all = append(all, "del "+t.show((*clientv3.DeleteResponse)(one.GetResponseDeleteRange())))
			case one.GetResponseTxn() != nil:
				all = append(all, "txn "+t.show((*clientv3.TxnResponse)(one.GetResponseTxn())))
			default:
				all = append(all, "nothing")
			}
		}
		return fmt.Sprintf("%s %t (%s)", t.header(r.Header), r.Succeeded, strings.Join(all, ", "))
	case clientv3.OpResponse:
		switch {
		case r.Put() != nil:
			return "put " + t.show(r.Put())
		case r.Get() != nil:
			return "get " + t.show(r.Get())
		case r.Del() != nil:
			return "del " + t.show(r.Del())
		}
		return "txn " + t.show(r.Txn())
	case *clientv3.CompactResponse:
		return t.header(r.Header)
	case clientv3.WatchResponse:
		return t.showWatch(r)
	case *clientv3.LeaseGrantResponse:
		return fmt.Sprintf("%s %s ttl %d %s", t.header(r.ResponseHeader), t.id(uint64(r.ID)), r.TTL, r.Error)
	case *clientv3.LeaseRevokeResponse:
		return t.header(r.Header)
	case *clientv3.LeaseKeepAliveResponse:
		return fmt.Sprintf("%s %s ttl %d", t.header(r.ResponseHeader), t.id(uint64(r.ID)), r.TTL)
	case *clientv3.LeaseTimeToLiveResponse:
		var keys []string
		for _, key := range r.Keys {
			keys = append(keys, string(key))
		}
		sort.Strings(keys)
		in := "none left"
		if r.TTL >= 0 && r.TTL <= r.GrantedTTL {
			in = "some left"
		} else if r.TTL != -1 {
			in = fmt.Sprintf("%d left", r.TTL)
		}
		return fmt.Sprintf("%s %s granted %d %s %s", t.header(r.ResponseHeader), t.id(uint64(r.ID)), r.GrantedTTL, in, keys)
	case *clientv3.LeaseLeasesResponse:
		var all []string
		for _, l := range r.Leases {
			all = append(all, t.id(uint64(l.ID)))
		}
		sort.Strings(all)
		return fmt.Sprintf("%s %s", t.header(r.ResponseHeader), all)
	case *clientv3.MemberListResponse:
		return t.members(r.Members)
	case *clientv3.MemberAddResponse:
		return fmt.Sprintf("learner %t of %s", r.Member.IsLearner, t.members(r.Members))
	case *clientv3.MemberRemoveResponse:
		return t.members(r.Members)
	case *clientv3.MemberUpdateResponse:
		return t.members(r.Members)
	case *clientv3.MemberPromoteResponse:
		return t.members(r.Members)
	case *clientv3.AlarmResponse:
		return t.alarms(r.Alarms)
	case *clientv3.AuthUserListResponse:
		return fmt.Sprintf("%s %q", t.header(r.Header), r.Users)
	case *clientv3.AuthUserGetResponse:
		return fmt.Sprintf("%s %q", t.header(r.Header), r.Roles)
	case *clientv3.AuthRoleListResponse:
		return fmt.Sprintf("%s %q", t.header(r.Header), r.Roles)
	case *clientv3.AuthRoleGetResponse:
		return fmt.Sprintf("%s %s", t.header(r.Header), permissions(r))
	}
	if field := reflect.Indirect(reflect.ValueOf(answer)).FieldByName("Header"); field.IsValid() { // nothing else is in it
		if h, ok := field.Interface().(*pb.ResponseHeader); ok {
			return t.header(h)
		}
	}
	return fmt.Sprintf("%T", answer)
}

func (t *topic) showWatch(r clientv3.WatchResponse) string {
	s := fmt.Sprintf("@%d", r.Header.Revision)
	if r.Created {
		s += " created"
	}
	if r.Canceled {
		s += " canceled"
	}
	if r.CompactRevision != 0 {
		s += fmt.Sprintf(" compacted %d", r.CompactRevision)
	}
	if r.IsProgressNotify() {
		s += " progress"
	}
	if err := r.Err(); err != nil {
		s += " " + t.show(err)
	}
	if len(r.Events) > 0 {
		s += " " + t.events(r.Events)
	}
	return s
}
