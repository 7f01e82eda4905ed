package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"keystay/e2e/internal/world"
)

// grpcCases are all cases of gRPC's interoperability tests that need no
// credentials of Google's (doc/interop-test-descriptions.md of grpc/grpc), and
// two more.
var grpcCases = map[string]func(context.Context, *grpc.ClientConn){
	"empty_unary":                 calls(interop.DoEmptyUnaryCall),
	"large_unary":                 calls(interop.DoLargeUnaryCall),
	"client_streaming":            calls(interop.DoClientStreaming),
	"server_streaming":            calls(interop.DoServerStreaming),
	"ping_pong":                   calls(interop.DoPingPong),
	"empty_stream":                calls(interop.DoEmptyStream),
	"timeout_on_sleeping_server":  calls(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          cancelAfterBegin,
	"cancel_after_first_response": calls(interop.DoCancelAfterFirstResponse),
	"custom_metadata":             calls(interop.DoCustomMetadata),
	"status_code_and_message":     calls(interop.DoStatusCodeAndMessage),
	"special_status_message":      calls(interop.DoSpecialStatusMessage),
	"unimplemented_method":        interop.DoUnimplementedMethod,
	"unimplemented_service": func(ctx context.Context, c *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(c))
	},
	"compressed": func(ctx context.Context, c *grpc.ClientConn) {
		client := testgrpc.NewTestServiceClient(c)
		interop.DoLargeUnaryCall(ctx, client, grpc.UseCompressor(gzip.Name))
		interop.DoPingPong(ctx, client, grpc.UseCompressor(gzip.Name))
	},
	"deadline": deadlinePassesOn,
}

// calls is for the cases that share a shape.
func calls(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn) {
	return func(ctx context.Context, c *grpc.ClientConn) { do(ctx, testgrpc.NewTestServiceClient(c)) }
}

// cancelAfterBegin gives up a call that it has begun. gRPC's own client may take the
// service's answer all the same, if that comes at once: then it is done once more.
func cancelAfterBegin(ctx context.Context, c *grpc.ClientConn) {
	for ctx.Err() == nil {
		call, cancel := context.WithCancel(ctx)
		stream, err := testgrpc.NewTestServiceClient(c).StreamingInputCall(call)
		cancel()
		if err == nil {
			_, err = stream.CloseAndRecv()
		}
		switch status.Code(err) {
		case codes.Canceled:
			return
		case codes.OK:
		default:
			panic(fmt.Sprint("want Canceled, got ", err))
		}
	}
	panic(fmt.Sprint("the service answers each call that was given up: ", ctx.Err()))
}

// deadlinePassesOn makes a call that the service has begun to answer when its
// deadline passes.
func deadlinePassesOn(ctx context.Context, c *grpc.ClientConn) {
	for limit := 300 * time.Millisecond; !answeredUntil(ctx, c, limit); limit *= 2 {
		if limit > world.Patience {
			panic("the service never begins to answer")
		}
	}
}

// answeredUntil makes a call with a deadline, and reports whether the service had
// begun to answer by then.
func answeredUntil(ctx context.Context, c *grpc.ClientConn, limit time.Duration) (began bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stream, err := testgrpc.NewTestServiceClient(c).FullDuplexCall(ctx)
	if err == nil {
		err = stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1}}})
	}
	for err == nil {
		_, err = stream.Recv()
		began = began || err == nil
	}
	if status.Code(err) != codes.DeadlineExceeded {
		panic(fmt.Sprint("want DeadlineExceeded, got ", err))
	}
	return began
}

// A grpcFailure is how a case of package interop fails, in the place of the end
// of the process.
type grpcFailure struct{ grpclog.LoggerV2 }

// Fatalln implements grpclog.LoggerV2.
func (grpcFailure) Fatalln(args ...any) { panic(fmt.Sprint(args...)) }

// A grpcService is the service of gRPC's interoperability tests.
type grpcService struct {
	addr     string
	underway atomic.Int64 // calls
	timed    atomic.Int64 // calls that came with a deadline
}

func newGRPCService(t *testing.T, with credentials.TransportCredentials) *grpcService {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &grpcService{addr: ln.Addr().String()}
	srv := grpc.NewServer(grpc.Creds(with),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			defer s.begin(ctx)()
			return handler(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			defer s.begin(stream.Context())()
			return handler(srv, stream)
		}))
	testgrpc.RegisterTestServiceServer(srv, interop.NewTestServer())
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(ln) })
	t.Cleanup(func() { srv.Stop(); wg.Wait() })
	return s
}

// begin counts a call until the function that it returns is called.
func (s *grpcService) begin(ctx context.Context) (end func()) {
	s.underway.Add(1)
	if _, ok := ctx.Deadline(); ok {
		s.timed.Add(1)
	}
	return func() { s.underway.Add(-1) }
}

// Every kind of gRPC call passes through relay and remote as it does without
// them, to a service over HTTP/2 without TLS and to one over TLS. A call that
// the visitor gives up, and one whose deadline passes, ends at the service.
func TestGRPCPassesThrough(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"h2c", "https+insecure"} {
		o := newOutside(t)
		with, toService := insecure.NewCredentials(), insecure.NewCredentials()
		if scheme != "h2c" {
			with = credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{o.ca.Issue("localhost")}})
			toService = credentials.NewTLS(&tls.Config{RootCAs: o.ca.Pool(), ServerName: "localhost"})
		}
		service := newGRPCService(t, with)
		up(o.remote(nil, "--relay-address", o.public, "--local", scheme+"://"+service.addr))
		throughRelay := credentials.NewTLS(&tls.Config{RootCAs: o.ca.Pool(), ServerName: outName})
		for way, dial := range map[string]struct {
			addr string
			with credentials.TransportCredentials
		}{"direct": {service.addr, toService}, "relayed": {o.public, throughRelay}} {
			c, err := grpc.NewClient("passthrough:///"+dial.addr, grpc.WithTransportCredentials(dial.with))
			if err != nil {
				t.Fatal(err)
			}
			for name, run := range grpcCases {
				t.Run(strings.Join([]string{scheme, way, name}, "/"), func(t *testing.T) { service.check(t, c, run) })
			}
			t.Run(strings.Join([]string{scheme, way, "many"}, "/"), func(t *testing.T) { manyCalls(t, c) })
			c.Close()
		}
	}
}

// check runs a case, and waits until the service knows its end.
func (s *grpcService) check(t *testing.T, c *grpc.ClientConn, run func(context.Context, *grpc.ClientConn)) {
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	before := s.timed.Load()
	func() {
		defer func() {
			if v := recover(); v != nil {
				t.Error(v)
			}
		}()
		run(ctx, c)
	}()
	world.Eventually(t, world.Patience/2, "the call ends at the service", func() bool { return s.underway.Load() == 0 })
	if strings.HasSuffix(t.Name(), "/deadline") && s.timed.Load() == before {
		t.Error("the service is not told of the deadline")
	}
}

// manyCalls makes more calls at once than one connection may have requests.
func manyCalls(t *testing.T, c *grpc.ClientConn) {
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	const n = 300
	failed := make(chan error, n)
	for range n {
		go func() {
			_, err := testgrpc.NewTestServiceClient(c).UnaryCall(ctx, &testgrpc.SimpleRequest{ResponseSize: 1000})
			failed <- err
		}()
	}
	var errs []string
	for range n {
		if err := <-failed; err != nil {
			errs = append(errs, err.Error())
		}
	}
	if len(errs) > 0 {
		t.Errorf("%d of %d calls fail: %v", len(errs), n, slices.Compact(errs))
	}
}
