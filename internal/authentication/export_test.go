package authentication

// CertificateName returns the caller's name in a certificate, without verifying the certificate.
var CertificateName = certificateName
