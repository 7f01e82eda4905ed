// Package browser opens TLS connections whose hello has the shape of a current
// browser's, so that whoever is on the way cannot tell them from a visitor's by it. It
// is the only import of utls.
package browser
