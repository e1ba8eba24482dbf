package authentication

// CertificateName returns the caller's name in a certificate, without verifying the certificate.
var CertificateName = certificateName

// MaxAge returns how long the keys in an answer may be used, according to the answer's headers.
var MaxAge = maxAge
