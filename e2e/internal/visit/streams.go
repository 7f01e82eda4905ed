package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// websocket sends messages of several sizes and expects each back.
func (v *visitor) websocket(ctx context.Context, args []string) error {
	file := v.flags.String("wait", "", "once it is open, wait until this file is there")
	http2 := v.flags.Bool("2", false, "speak HTTP/2")
	args, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	client, err := v.client(true, false, nil)
	if *http2 {
		client, err = v.webSocketsOverHTTP2()
	}
	if err != nil {
		return err
	}
	conn, _, err := websocket.Dial(ctx, args[0], &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	const largest = 1 << 20
	conn.SetReadLimit(largest)
	if *file != "" {
		fmt.Println("open")
		if err := waitForFile(ctx, *file); err != nil {
			return err
		}
	}
	for size := 1; size <= largest; size *= 32 {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if err := conn.Write(ctx, websocket.MessageBinary, sent); err != nil {
			return err
		}
		_, got, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return fmt.Errorf("another message of %d bytes came back for %d", len(got), size)
		}
		fmt.Printf("echoed %d bytes\n", size)
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		return err
	}
	fmt.Println("closed in good order")
	return nil
}

// waitForFile waits until a file is there.
func waitForFile(ctx context.Context, name string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// events reads an event stream that sends each event only after the one before
// was confirmed, at /seen. Whatever holds an event back stops it for good.
func (v *visitor) events(ctx context.Context, args []string) error {
	http2 := v.flags.Bool("2", false, "speak HTTP/2")
	args, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	seen, err := at(args[0], "/seen")
	if err != nil {
		return err
	}
	client, err := v.client(!*http2, *http2, nil)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "GET", args[0], nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s := bufio.NewScanner(resp.Body)
	for s.Scan() {
		if event, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			fmt.Println("event", event)
			if err := v.ask(ctx, seen); err != nil {
				return err
			}
		}
	}
	return s.Err()
}
