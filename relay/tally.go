package relay

// A tally counts by key, and knows which key has most. The zero value is empty.
type tally struct {
	sum   int
	count map[string]int
	with  map[int]map[string]struct{} // the keys of each count above 0
	most  int
}

// add changes a count by 1 or -1.
func (t *tally) add(key string, d int) {
	if t.count == nil {
		t.count, t.with = make(map[string]int), make(map[int]map[string]struct{})
	}
	was := t.count[key]
	now := was + d
	t.sum += d
	if was > 0 {
		if delete(t.with[was], key); len(t.with[was]) == 0 {
			delete(t.with, was)
		}
	}
	if now > 0 {
		t.count[key] = now
		if t.with[now] == nil {
			t.with[now] = make(map[string]struct{})
		}
		t.with[now][key] = struct{}{}
	} else {
		delete(t.count, key)
	}
	switch {
	case now > t.most:
		t.most = now
	case was == t.most && t.with[was] == nil:
		t.most = max(now, 0) // it was the only one, and is one below by now
	}
}

// largest returns a key that has most, and how many that is.
func (t *tally) largest() (key string, n int) {
	for key := range t.with[t.most] {
		return key, t.most
	}
	return "", 0
}
