// Package verify checks from any machine which device holds the key that the visitors of
// a public name meet. It asks the name itself, over the internet as a visitor does, and
// DNS; and it shares no code with what serves the name but the form of the document.
package verify
