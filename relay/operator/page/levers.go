package page

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"keystay/relay/operator"
)

// A lever is one thing that can be done on the page.
type lever struct {
	Title  string
	Text   string // what happens then
	Button string

	// Questions of its form, beside the reason.
	AskWhat  bool   // what it is for
	AskFor   bool   // when it ends by itself
	AskFree  bool   // whether a name is given out at once
	AskNames bool   // whether the names of a token go, too
	AskSure  string // what has to be ticked

	Back string // the page that shows what it has done

	do func(context.Context, *Page, string, form) (string, error)
}

// A form is what a person has said of what is to be done.
type form struct {
	Kind, Of, Reason, For string
	Free, Names, Sure     bool
}

// formOf reads a form, of the query of a link or of a body.
func formOf(get func(string) string) form {
	f := form{Kind: get("kind"), Of: strings.TrimSpace(get("of")), Reason: strings.TrimSpace(get("reason")), For: strings.TrimSpace(get("for")),
		Free: get("free") != "", Names: get("names") != "", Sure: get("sure") != ""}
	if f.Kind != "identity" && f.Kind != "address" {
		f.Kind = "name"
	}
	return f
}

// leverOf returns a lever by its name in the path.
func leverOf(name string) (lever, bool) {
	switch name {
	case "kick":
		return lever{Title: "Kick", Button: "Kick", Back: "/remotes", do: kick,
			Text: "Its links are cut, with their visitors, within a second. It is told the reason, and may come back at once."}, true
	case "ban":
		return lever{Title: "Ban", Button: "Ban", AskWhat: true, AskFor: true, Back: "/bans", do: setBan,
			Text: "What is connected is cut within a second, with its visitors, and refused from then on. Devices are told the reason."}, true
	case "unban":
		return lever{Title: "Lift the ban", Button: "Lift the ban", Back: "/bans", do: unban,
			Text: "It is let in again. A name that was lost has to be claimed anew."}, true
	case "release":
		return lever{Title: "Release the name", Button: "Release", AskFree: true, Back: "/names", do: release,
			Text: "The name is taken from its device, which is told the reason, and kept from other devices for 90 days."}, true
	case "revoke":
		return lever{Title: "Revoke the token", Button: "Revoke", AskNames: true, Back: "/tokens", do: revoke,
			Text: "It opens no more names. Devices keep those that they have."}, true
	case "drain":
		return lever{Title: "Drain and stop", Button: "Drain and stop", Back: "/", do: drain, AskSure: "I mean it: this relay is to stop",
			Text: "The relay takes no new visitors, tells the remotes, lets those who are here finish for drain_timeout, and ends. What has started it may start it again."}, true
	}
	return lever{}, false
}

// A leverView is the form of a lever, and what has come of it.
type leverView struct {
	lever
	Form  form
	Lever string // its name in the path
	Done  string // what was done
	Wrong string
	Hints []string
}

// showLever shows the form. Whoever is not signed in is asked to.
func (p *Page) showLever(w http.ResponseWriter, r *http.Request) {
	l, ok := leverOf(r.PathValue("lever"))
	switch {
	case !ok:
		p.show(w, r, view{Title: "There is no such page", Name: "problem", Part: "problem", Status: http.StatusNotFound}, nil)
	case p.session(r) == nil:
		sendToSignIn(w, r)
	default:
		p.showForm(w, r, http.StatusOK, leverView{lever: l, Lever: r.PathValue("lever"), Form: formOf(r.URL.Query().Get)})
	}
}

func (p *Page) showForm(w http.ResponseWriter, r *http.Request, status int, v leverView) {
	p.show(w, r, view{Title: v.Title, Name: "lever", Part: "form", Status: status, Data: v}, nil)
}

// pullLever does what a form says, once the form is one of the session's own.
func (p *Page) pullLever(w http.ResponseWriter, r *http.Request) {
	l, ok := leverOf(r.PathValue("lever"))
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	s := p.session(r)
	switch {
	case !ok:
		p.show(w, r, view{Title: "There is no such page", Name: "problem", Part: "problem", Status: http.StatusNotFound}, nil)
		return
	case s == nil:
		sendToSignIn(w, r)
		return
	case !s.owns(r):
		p.show(w, r, view{Title: "This form is too old", Name: "problem", Part: "problem", Status: http.StatusForbidden, Text: "It is of another sign-in. Go back and open it again."}, nil)
		return
	}
	v := leverView{lever: l, Lever: r.PathValue("lever"), Form: formOf(r.PostFormValue)}
	done, err := v.do(context.WithoutCancel(r.Context()), p, s.who(), v.Form) // whoever leaves has meant it
	if err != nil {
		wrong := problemOf(err)
		v.Wrong, v.Hints = wrong.Text, wrong.Hints
		p.showForm(w, r, wrong.Status, v)
		return
	}
	v.Done = done
	p.showForm(w, r, http.StatusOK, v)
}

// pull pulls a lever of the API.
func pull[T any](ctx context.Context, p *Page, who, path string, body any) (v T, err error) {
	a, err := p.API.Do(ctx, who, http.MethodPost, path, body)
	if err == nil {
		v = a.(T)
	}
	return v, err
}

func kick(ctx context.Context, p *Page, who string, f form) (string, error) {
	k := operator.Kick{Reason: f.Reason}
	switch f.Kind {
	case "identity":
		k.Identity = f.Of
	case "address":
		k.Address = f.Of
	default:
		k.Name = f.Of
	}
	n, err := pull[operator.Severed](ctx, p, who, "/v1/remotes/kick", k)
	return cutSaid(n), err
}

func setBan(ctx context.Context, p *Page, who string, f form) (string, error) {
	b, err := pull[operator.Banned](ctx, p, who, banPath(f.Kind)+"/ban", operator.Ban{Of: f.Of, Reason: f.Reason, For: f.For})
	return b.Ban.Of + " is banned. " + cutSaid(b.Severed), err
}

func unban(ctx context.Context, p *Page, who string, f form) (string, error) {
	u, err := pull[operator.Unban](ctx, p, who, banPath(f.Kind)+"/unban", operator.Unban{Of: f.Of, Reason: f.Reason})
	return "The ban of " + u.Of + " is lifted.", err
}

func release(ctx context.Context, p *Page, who string, f form) (string, error) {
	g, err := pull[operator.Grant](ctx, p, who, "/v1/names/release", operator.Release{Name: f.Of, Free: f.Free, Reason: f.Reason})
	if f.Free {
		return g.Name + " is released, and free for any device.", err
	}
	return g.Name + " is released.", err
}

func revoke(ctx context.Context, p *Page, who string, f form) (string, error) {
	a, err := pull[operator.Revoked](ctx, p, who, "/v1/tokens/revoke", operator.Revoke{ID: f.Of, Names: f.Names, Reason: f.Reason})
	if f.Names {
		return fmt.Sprintf("The token is revoked, and %s.", plural(len(a.Released), "name is released", "names are released")), err
	}
	return "The token is revoked.", err
}

func drain(ctx context.Context, p *Page, who string, f form) (string, error) {
	if !f.Sure {
		return "", &operator.Error{Status: http.StatusBadRequest, Text: "tick that you mean it"}
	}
	d, err := pull[operator.Draining](ctx, p, who, "/v1/drain", operator.Drain{Reason: f.Reason})
	return fmt.Sprintf("The relay drains, with %s, until %s at the latest.", plural(d.Visitors, "visitor", "visitors"), day(d.Until)), err
}

// cutSaid says what a lever has ended.
func cutSaid(n operator.Severed) string {
	said := fmt.Sprintf("%s and %s were cut", plural(n.Links, "link", "links"), plural(n.Visitors, "visitor", "visitors"))
	if n.Elsewhere {
		return said + " here, and the other nodes were told."
	}
	return said + "."
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
