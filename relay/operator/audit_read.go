package operator

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"keystay/internal/ownfile"
)

// Last returns the last n entries that are not older than since, the oldest first: of
// all nodes, where they share a log and it can be read, and else of this one. A line that
// is none, such as a part of one, is left out.
func (a *Audit) Last(n int, since time.Time) ([]Entry, error) {
	if a == nil {
		return nil, nil
	}
	if a.Shared != nil {
		if lines, err := a.Shared.Last(n, since); err == nil {
			var list []Entry
			for _, line := range lines {
				var e Entry
				if json.Unmarshal(line, &e) == nil && e.What != "" {
					list = append(list, e)
				}
			}
			return list, nil
		}
	}
	var last []Entry
	for i := 0; i <= keptAudit && len(last) < n; i++ {
		list, older, err := lastOf(a.aside(i), n-len(last), since)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		}
		last = append(list, last...)
		if older {
			break
		}
	}
	return last, nil
}

// lastOf is Last for one file. Older says that the file has entries from before
// since, so that the files before it have no others.
func lastOf(file string, n int, since time.Time) (list []Entry, older bool, err error) {
	if err := ownfile.NoPipe(file); err != nil {
		return nil, false, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, maxEntry+2), maxEntry+2)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.What == "" {
			continue
		}
		if e.Time.Before(since) {
			older = true
			continue
		}
		if list = append(list, e); len(list) >= 2*n { // at most twice as many as are wanted
			list = slices.Delete(list, 0, len(list)-n)
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return nil, false, err
	}
	return list[max(0, len(list)-n):], older, nil
}

// defaultAudit is how many entries are shown where the request does not say.
const defaultAudit = 100

func (s *Server) audit(r *http.Request) (any, error) {
	q, err := query(r, "since", "limit")
	if err != nil {
		return nil, err
	}
	n, err := limit(q, defaultAudit)
	if err != nil {
		return nil, err
	}
	var since time.Time
	if t := q.Get("since"); t != "" {
		if since, err = time.Parse(time.RFC3339, t); err != nil {
			return nil, wrong("since %.40q is no time", t).because("as in " + time.Now().UTC().Format(time.RFC3339))
		}
	}
	list, err := s.Audit.Last(n, since)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []Entry{}
	}
	return AuditPage{Entries: list}, nil
}
