package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"time"
)

const (
	// runTimeout is how long a command may take, and runGrace how long what it has left
	// behind may hold its output.
	runTimeout, runGrace = time.Minute, time.Second
	// postTimeout is how long one try of a webhook may take.
	postTimeout = 10 * time.Second
)

// errEnds is the error of what the end of the program has cut.
var errEnds = errors.New("the program ends")

// postPauses are the waits between the tries of a webhook.
func postPauses() []time.Duration { return []time.Duration{2 * time.Second, 20 * time.Second} }

// act begins the command and the webhook of an alarm.
func (a *Alarms) act(alarm Alarm) {
	if len(a.Run) == 0 && a.Post == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.acting >= maxActing {
		a.logger().Error("neither command nor webhook is told of this alarm: too many are under way, or the program ends", "name", alarm.Name)
		return
	}
	if a.ctx == nil {
		a.ctx, a.cut = context.WithCancel(context.Background())
	}
	a.acting++
	told := alarm.json()
	a.wg.Go(func() {
		if len(a.Run) > 0 {
			if err := a.run(told); err != nil {
				a.logger().Error("the command for alarms has failed", "name", alarm.Name, "command", a.Run[0], "err", err)
			}
		}
		if a.Post != "" {
			if err := a.post(told); err != nil {
				a.logger().Error("the webhook for alarms has failed", "name", alarm.Name, "err", err)
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.acting--
	})
}

// run runs the command. Its output goes to no log: nobody knows what that may be.
func (a *Alarms) run(told []byte) error {
	ctx, cancel := context.WithTimeout(a.ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.Run[0], a.Run[1:]...)
	cmd.Stdin, cmd.WaitDelay = bytes.NewReader(told), runGrace
	err := cmd.Run()
	switch {
	case a.ctx.Err() != nil:
		return errEnds
	case ctx.Err() != nil:
		return fmt.Errorf("it took longer than %v", runTimeout)
	}
	return err
}

// post tells the webhook, and tries again where that fails.
func (a *Alarms) post(told []byte) (err error) {
	transport := a.transport
	if transport == nil {
		t := &http.Transport{Proxy: a.Proxy, TLSHandshakeTimeout: postTimeout, ForceAttemptHTTP2: true, DisableKeepAlives: true}
		defer t.CloseIdleConnections()
		transport = t
	}
	client := &http.Client{Transport: transport, Timeout: postTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, pause := range append(postPauses(), 0) {
		if err = a.postOnce(client, told); err == nil || pause == 0 {
			return err
		}
		select {
		case <-time.After(pause):
		case <-a.ctx.Done():
			return errEnds
		}
	}
	return err
}

func (a *Alarms) postOnce(client *http.Client, told []byte) error {
	req, err := http.NewRequestWithContext(a.ctx, http.MethodPost, a.Post, bytes.NewReader(told))
	if err != nil {
		return errors.New("this is no URL") // the text of err repeats it
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	var named *url.Error
	if errors.As(err, &named) { // it repeats the URL
		return named.Err
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return nil
}
