package operator

import "time"

// SetMax makes the audit log begin a new file at that many bytes.
func (a *Audit) SetMax(n int64) { a.max = n }

// SetClock sets the clock of the audit log.
func (a *Audit) SetClock(now func() time.Time) { a.now = now }

// Break makes the audit log fail to write, until it opens its file again.
func (a *Audit) Break() { a.out.Close() }

// Reopen makes the audit log open its file again.
func (a *Audit) Reopen() { a.out = nil }

// Routes are the methods and paths of the API.
func Routes() (list []string) {
	for _, r := range new(Server).routes() {
		list = append(list, r.method+" "+r.path)
	}
	return list
}
