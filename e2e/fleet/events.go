package main

import (
	"container/heap"
	"time"
)

// A clock is virtual time with what is to happen in it.
type clock struct {
	now  time.Duration
	todo agenda
	n    int
}

// An event is what happens at a time; of the same time, first what was planned first.
type event struct {
	at time.Duration
	n  int
	do func()
}

// after plans something.
func (c *clock) after(d time.Duration, do func()) {
	heap.Push(&c.todo, event{c.now + d, c.n, do})
	c.n++
}

// run lets all that is planned happen.
func (c *clock) run() {
	for c.todo.Len() > 0 {
		e := heap.Pop(&c.todo).(event)
		c.now = e.at
		e.do()
	}
}

type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
