// Package browser opens TLS connections whose hello has the shape of a current
// browser's, so that nobody on the way can tell them from a visitor's by their hello. It
// is the only import of utls.
package browser
