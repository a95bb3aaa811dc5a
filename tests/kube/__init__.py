"""A Kubernetes API for tests: a process of its own that keeps everything in memory.

It shows what docs/kubernetes.md measured on a real one, and validates nothing that the real one does not.

    apiserver    the HTTP side and the command line: `python -m tests.kube.apiserver`
    kinds        the resources, and what a URL names
    accounts     who is asking: bearers, service accounts' tokens, certificates
    access       what RBAC and the node authorizer let them do
    verbs        what each verb does to the objects
    admission    what is checked before an object is written: kubelets, Secrets, certificate requests
    policies     ValidatingAdmissionPolicies; cel reads their expressions
    reviews      SelfSubjectAccessReview and SelfSubjectRulesReview
    selecting    field and label selectors, lists in pages
    watching     watches, bookmarks, 410 in the stream
    pods         how pods end; evictions and PodDisruptionBudgets
    bootstrap    bootstrap tokens: the Secret, the detached JWS, the bearer cache
    controllers  bootstrap signer, token cleaner, certificate approval and signing, node lifecycle; settings
    objects      the objects, their resource versions and the watch
    patches      merge patch, strategic merge patch, JSON patch
    pki          the certificate authority and the kubeconfig files
    status       refusals as Status bodies
    backstage    what tests do beside the API; control is its client, and starts the process
    cluster      what a test holds, whatever runs the cluster; fixtures makes it
    real         a cluster of real binaries (NETBOOT_KUBERNETES_BIN); kubeadm_init is what it starts with
    real_kube    what a test holds of it
"""
