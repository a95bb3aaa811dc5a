"""A Kubernetes API for tests: a process of its own that keeps everything in memory.

It shows what docs/kubernetes.md measured on a real one, and validates nothing that the real one does not.

    apiserver    the HTTP side and the command line: `python -m tests.kube.apiserver`
    access       who is asking, and what RBAC and the node authorizer let them do
    bootstrap    bootstrap tokens: the Secret, the detached JWS, the bearer cache
    controllers  bootstrap signer, token cleaner, certificate approval and signing, node lifecycle
    objects      the objects, their resource versions and the watch
    patches      merge patch, strategic merge patch, JSON patch
    pki          the certificate authority and the kubeconfig files
    status       refusals as Status bodies
    control      how a test starts it, makes it fail, and looks inside
"""
